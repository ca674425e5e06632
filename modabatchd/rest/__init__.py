"""The REST API: Klein in front of the services of the queue."""
