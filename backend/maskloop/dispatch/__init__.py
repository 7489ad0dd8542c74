"""Jobs, queues, workers: all that knows RQ and Redis.

A job is a kind and a JSON payload; a worker has a handler for each kind. Errors cross the queue as
``{"code", "message", "hint"}`` and are raised again on the other side.
"""
