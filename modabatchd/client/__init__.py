"""
The API from Python, and the command for people over it.

    from modabatchd.client.http import Server
    from modabatchd.client.jobs import Jobs, Submission

    with Server("http://127.0.0.1:5000") as server:
        jobs = Jobs(server)
        job_id = jobs.submit(Path("job.tar.gz"), Submission(arguments=("world",)))["job_id"]
        for job in jobs.watch(job_id):
            print(job["job_status"])

Answers are the documents that C{/api/spec.html} describes, as plain dictionaries.
"""
