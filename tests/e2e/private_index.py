"""A package index that asks who is there: `private_index.py PORT USERNAME TOKEN` serves one wheel below `/simple/`."""

import base64
import hashlib
import http.server
import io
import sys
import zipfile

NAME = "capstan-0.1.0-py3-none-any.whl"
INFO = "capstan-0.1.0.dist-info"


def wheel():
    files = {
        "capstan.py": b'"""Heaves."""\n',
        f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: capstan\nVersion: 0.1.0\n",
        f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nGenerator: e2e\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={digest(data)},{len(data)}" for path, data in files.items()]
    files[f"{INFO}/RECORD"] = "\n".join([*record, f"{INFO}/RECORD,,", ""]).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return out.getvalue()


def digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


WHEEL = wheel()
PAGE = f'<!DOCTYPE html><a href="/files/{NAME}#sha256={hashlib.sha256(WHEEL).hexdigest()}">{NAME}</a>'.encode()
ANSWERS = {"/simple/capstan/": (PAGE, "text/html"), f"/files/{NAME}": (WHEEL, "application/octet-stream")}
KNOWN = "Basic " + base64.b64encode(f"{sys.argv[2]}:{sys.argv[3]}".encode()).decode()


class Index(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, data=b"", kind="text/plain", **headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_GET(self):
        if self.headers.get("Authorization") != KNOWN:
            self.answer(401, **{"WWW_Authenticate": 'Basic realm="index"'})
        elif self.path in ANSWERS:
            self.answer(200, *ANSWERS[self.path])
        else:
            self.answer(404)

    do_HEAD = do_GET


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Index).serve_forever()
