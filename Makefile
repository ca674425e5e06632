# modabatchd: everything a developer or a first visitor runs. Variables: PYTHON (another interpreter), ARGS (for pytest, the benchmarks or the proofs),
# POOL=none and BROWSER=none (tests without HTCondor, without Chromium).

export PYTHON POOL BROWSER

.PHONY: help run demo test lint pool pool-stop bench trust clean

help:
	@echo "make run        start the daemon on http://127.0.0.1:5000, state in var/"
	@echo "make demo       see nodes come when jobs wait and go when they don't, on this machine alone"
	@echo "make test       linters and all tests, on a real HTCondor pool and a real PostgreSQL"
	@echo "                (ARGS=\"-k word\" for pytest, POOL=none without HTCondor, BROWSER=none without Chromium)"
	@echo "make lint       the linters alone"
	@echo "make bench      the benchmarks, on the same services (ARGS=\"name\")"
	@echo "make trust      the long proofs that nothing is lost (ARGS=\"--size 0.01 name\"), what they find in build/trust/"
	@echo "make pool       start the services of the tests and leave them running; make pool-stop ends them"
	@echo "make clean      remove what the above have made, but for var/ with the daemon's jobs"

run:
	@exec tools/run $(ARGS)

demo:
	@exec tools/demo $(ARGS)

test:
	@exec tools/test $(ARGS)

lint:
	@exec tools/lint

bench:
	@exec tools/bench $(ARGS)

trust:
	@exec tools/trust $(ARGS)

pool:
	@exec tools/pool start

pool-stop:
	@exec tools/pool stop

clean:
	@exec tools/clean
