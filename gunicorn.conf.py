"""gunicorn reads this file by itself when it is started here; the settings are those of `collab serve`."""

from collab.server import (
    access_log_format,
    bind,
    control_socket_disable,
    graceful_timeout,
    limit_request_line,
    logger_class,
    on_starting,
    post_worker_init,
    when_ready,
    worker_class,
    worker_exit,
)

__all__ = [
    "access_log_format",
    "bind",
    "control_socket_disable",
    "graceful_timeout",
    "limit_request_line",
    "logger_class",
    "on_starting",
    "post_worker_init",
    "when_ready",
    "worker_class",
    "worker_exit",
]
