# SPDX-License-Identifier: GPL-2.0
"""The programs: how they are started, and what they can do"""
import ctypes
import functools
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import aioquic

LIB = Path(__file__).resolve().parent.parent
QUINN = LIB / "quinn-quic-kernel/target"
BACKEND = 8080      # port of a server of HTTP/1


@functools.cache
def output(command, *args):
    """What a program says of itself"""
    proc = subprocess.run([command, *args], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, check=False)
    return proc.stdout


def version_ngtcp2():
    class Info(ctypes.Structure):
        _fields_ = [("age", ctypes.c_int), ("number", ctypes.c_int),
                    ("text", ctypes.c_char_p)]
    ngtcp2 = ctypes.CDLL("libngtcp2.so.16").ngtcp2_version
    gnutls = ctypes.CDLL("libgnutls.so.30").gnutls_check_version
    ngtcp2.restype, gnutls.restype = ctypes.POINTER(Info), ctypes.c_char_p
    return "ngtcp2 %s, GnuTLS %s" % (ngtcp2(0).contents.text.decode(),
                                     gnutls(None).decode())


def version_quinn():
    lock = (QUINN.parent / "Cargo.lock").read_text()
    return " ".join(re.search(r'name = "(quinn)"\nversion = "([^"]*)"', lock).groups())


def version_aioquic():
    return "aioquic " + aioquic.__version__


def version_curl():
    version = output("curl", "--version")
    return ", ".join(re.findall(r"^curl [^ ]*|OpenSSL/[^ ]*", version))


def version_openssl():
    return " ".join(output("openssl", "version").split()[:2])


def version_nginx():
    return output("nginx", "-v").split(": ")[-1].strip()


def version_haproxy():
    return " ".join(output("haproxy", "-v").split()[:3])


def missing_quinn():
    if not (QUINN / "debug/examples/server").exists():
        return "not built: it needs Debian's Rust in the guest root, 600 MB"
    return ""


def missing(program, option, word):
    """Why it cannot be had. The option is to print the word if HTTP/3 is in it."""
    if not shutil.which(program):
        return "not installed"
    return "" if word in output(program, option) else "built without HTTP/3"


@dataclass
class Peer:
    """A program. Strings are words with names in braces, which Run.names() knows.
    Of the words of on, off and update, NAME=VALUE is for the environment; the others
    are options."""
    name: str
    command: str
    version: callable
    on: str = None              # makes it use the kernel; None: it cannot
    off: str = ""               # keeps it from doing so
    update: str = None          # makes it update its keys; None: it cannot
    missing: callable = lambda: ""
    stats: str = "{stats}"      # file with its counters, and their names
    sealed: str = "kernel_packets"
    opened: str = "rx_kernel_packets"
    config: str = ""            # for the file {config}
    backend: bool = False       # needs a server of HTTP/1
    http: bool = True           # else it only shakes hands
    tries: int = 1


PRELOAD = "LD_PRELOAD={lib}/quic_offload.so QUIC_OFFLOAD_STATS={stats}"
NO_ULP = "LD_PRELOAD={lib}/test/fake_kernel.so FAKE_KERNEL_ULP=92"

NGINX = """daemon off;
error_log stderr;
pid {tmp}/nginx.pid;
user root;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {tmp}/nginx-body;
    proxy_temp_path {tmp}/nginx-proxy;
    fastcgi_temp_path {tmp}/nginx-fastcgi;
    uwsgi_temp_path {tmp}/nginx-uwsgi;
    scgi_temp_path {tmp}/nginx-scgi;
    server {{
        listen {address}:{port} quic;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        root {www};
    }}
}}
"""

HAPROXY = """global
    limited-quic
defaults
    mode http
    timeout client 60s
    timeout connect 60s
    timeout server 60s
frontend quic
    bind quic4@{address}:{port} ssl crt {both} alpn h3
    default_backend files
backend files
    server files 127.0.0.1:{backend}
"""

SERVERS = [
    Peer("gtlsserver", "gtlsserver -q {options} -d {www} * {port} {key} {cert}",
         version_ngtcp2, on=PRELOAD,
         update="LD_PRELOAD={lib}/test/update_keys.so"),
    Peer("h3file", "{lib}/ngtcp2-example/h3file server {options} {address} {port} "
         "{key} {cert} {www}", version_ngtcp2, on="", off=NO_ULP, update="-u 20",
         stats="{log}", sealed="sealed", opened="opened"),
    Peer("aioquic_kernel", "python3 -m aioquic_kernel.http3_server {options} "
         "--address {address} {port} {www} {cert} {key}", version_aioquic,
         on="--stats {stats}", off="--no-kernel", update="--key-update 0.1"),
    Peer("quinn-quic-kernel", "{quinn}/server --port {port} --file {www}/{file} "
         "--cert {cert} --key {key} {options}", version_quinn,
         on="--stats {stats}", off="--kernel no", update="--key-update-ms 30",
         missing=missing_quinn),
    Peer("aioquic", "{lib}/test/h3serve.py {address} {port} {www} {cert} {key}",
         version_aioquic),
    Peer("nginx", "nginx -c {config} -p {tmp}", version_nginx, config=NGINX,
         missing=lambda: missing("nginx", "-V", "http_v3_module")),
    Peer("haproxy", "haproxy -db -f {config}", version_haproxy, config=HAPROXY,
         missing=lambda: missing("haproxy", "-vv", "+QUIC"), backend=True),
]

CLIENTS = [
    Peer("gtlsclient", "gtlsclient -q --exit-on-all-streams-close {options} "
         "--download {out} {address} {port} {url}", version_ngtcp2, on=PRELOAD,
         update="--key-update=20ms"),
    Peer("h3file", "{lib}/ngtcp2-example/h3file client {options} {address} {port} "
         "/{file} {out}/{file}", version_ngtcp2, on="", off=NO_ULP, update="-u 20",
         stats="{log}", sealed="sealed", opened="opened"),
    Peer("aioquic_kernel", "python3 -m aioquic_kernel.http3_client {options} {url} "
         "{out}/{file}", version_aioquic, on="--stats {stats}", off="--no-kernel",
         update="--key-update 0.1"),
    Peer("quinn-quic-kernel", "{quinn}/client --to {address}:{port} --ca {cert} "
         "--path /{file} --out {out}/{file} {options}", version_quinn,
         on="--stats {stats}", off="--kernel no", update="--key-update-ms 30",
         missing=missing_quinn),
    # It stalls in one download out of twenty or thirty, see curl_get in lib.sh.
    Peer("curl", "curl -sS --http3-only -k --speed-time 15 --speed-limit 1000 "
         "-o {out}/{file} {url}", version_curl, tries=5,
         missing=lambda: missing("curl", "--version", "HTTP3")),
    Peer("aioquic", "{lib}/h3get.py {url} {out}/{file}", version_aioquic),
    # It takes the first stream of the server for its own, and cannot write to that.
    Peer("s_client", "openssl s_client -quic -alpn h3 -nocommands -ign_eof "
         "-keylogfile {keylog} -connect {address}:{port}", version_openssl,
         http=False),
]

LEFT_OUT = [
    ("ngtcp2 with OpenSSL", "Debian 13's ngtcp2 has a helper for GnuTLS only."),
    ("knotd, kdig", "They speak DNS over QUIC, and no HTTP/3: see ``knot/``."),
    ("Chromium", "It would add 143 packages and 577 MB to the guest root."),
]
