"""nginx, in which nchan runs, HAProxy and Caddy: with the configurations that they're given.

nchan is set up as its users would for the same job, and in its favour: no access
log, nothing stored (a message goes to who is there), one worker, since one core is
what every contestant gets.
"""

import os
import shutil
import tempfile
from pathlib import Path

from .processes import accepts, free_ports
from .server import Server, needed

NCHAN_FILES = 19_990
"""Open files of nginx's one worker: 20,000 is a common hard limit."""

NCHAN_STREAMS = 18_500
"""Streams that it holds at most: once less than a sixteenth of its connections is free, it closes
those that wait for a request, the senders' too (ngx_drain_connections)."""

NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

PATH = os.environ["PATH"] + ":/usr/sbin"

_NGINX = """\
{before}
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {directory}/pid;
error_log stderr error;
events {{ worker_connections {files}; multi_accept on; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    scgi_temp_path {directory}/scgi;
    uwsgi_temp_path {directory}/uwsgi;
    types {{ text/html html; }}
    {sites}
}}
"""

_NCHAN = """
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/send/(.+)$ {{
            nchan_publisher;
            nchan_channel_id $1;
            nchan_store_messages off;
        }}
        location ~ ^/test/(.+)$ {{
            nchan_subscriber http-chunked;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
        location ~ ^/events/(.+)$ {{
            nchan_subscriber eventsource;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
        location = /status {{
            nchan_stub_status;
        }}
    }}
"""


def nginx_missing() -> str | None:
    """Why there is no nginx here, if there is none."""
    return None if shutil.which("nginx", path=PATH) else "nginx is not installed; apt install nginx"


def nchan_missing() -> str | None:
    """Why nchan can't be measured here, if it can't."""
    if nginx_missing() is None and NCHAN_MODULE.exists():
        return None
    return "it is not installed; apt install nginx libnginx-mod-nchan"


class Proxy(Server):
    """A `program` that listens on `port`; its files are in a directory of its own."""

    def __init__(self, program: str, port: int, core: int | None = None) -> None:
        super().__init__(program, port, core)
        self._program = shutil.which(program, path=PATH) or program
        self._directory = tempfile.TemporaryDirectory(prefix="encke-proxy-")
        self.directory = Path(self._directory.name)

    def run(self, configuration: str, *arguments: str) -> None:
        """Start it with this `configuration`, whose file is named after the last argument."""
        file = self.directory / "configuration"
        file.write_text(configuration)
        command = [self._program, *arguments, str(file)]
        environment = {**os.environ, "HOME": self._directory.name}
        self.launch(command, lambda: accepts(self.port), environment)

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._directory.cleanup()


class Nginx(Proxy):
    """nginx with these upstreams and servers, one of which listens on `port`."""

    def __init__(
        self, sites: str, port: int, core: int | None = None, files: int = 64, modules: str = ""
    ) -> None:
        super().__init__("nginx", port, core)
        user = "user root;" if os.geteuid() == 0 else ""  # the directory is private
        text = _NGINX.format(
            before=f"{modules}\n{user}", directory=self.directory, files=files, sites=sites
        )
        self.run(text, "-p", str(self.directory), "-e", "stderr", "-c")


class HAProxy(Proxy):
    """HAProxy, one of whose frontends listens on `port`."""

    def __init__(self, configuration: str, port: int) -> None:
        super().__init__("haproxy", port)
        self.run(configuration, "-db", "-f")


class Caddy(Proxy):
    """Caddy, one of whose sites listens on `port`."""

    def __init__(self, sites: str, port: int) -> None:
        super().__init__("caddy", port)
        self.run(f"{{\n\tadmin off\n}}\n{sites}", "run", "--adapter", "caddyfile", "--config")


def nchan(core: int | None = None) -> Nginx:
    """nginx with nchan on a free port; on `core`, None: where we are."""
    needed(nchan_missing())
    (port,) = free_ports(1)
    module = f"load_module {NCHAN_MODULE};"
    server = Nginx(_NCHAN.format(port=port), port, core, NCHAN_FILES, module)
    server.name = "nchan"
    return server
