"""Certificates for a TLS server of a test, made by openssl: an authority, a server, a client, and a stranger."""

import subprocess
from pathlib import Path
from typing import Final

_NAMES: Final = "subjectAltName=DNS:localhost,IP:127.0.0.1"


class Certificates:
    """PEM files below `folder`; the key of `NAME.crt` is `NAME.key`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for authority in ("ca", "other-ca"):
            self._openssl("req", "-x509", *self._key(authority), "-subj", f"/CN={authority}", "-days", "2")
        self._signed("server", _NAMES)
        self._signed("elsewhere", "subjectAltName=DNS:elsewhere.invalid")
        self._signed("client", _NAMES)
        self._signed("expired", _NAMES, days="-1")

    def file(self, name: str) -> str:
        """Return the path of one file, such as `ca.crt`."""
        return str(self.folder / name)

    def _key(self, name: str) -> list[str]:
        files = ["-keyout", self.file(f"{name}.key"), "-out", self.file(f"{name}.crt")]
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *files]

    def _signed(self, name: str, names: str, days: str = "2") -> None:
        request, extensions = self.file(f"{name}.csr"), self.file(f"{name}.ext")
        made = self._key(name)
        self._openssl("req", "-new", *made[:-1], request, "-subj", f"/CN={name}")
        Path(extensions).write_text(f"{names}\n")
        self._openssl(
            "x509", "-req", "-in", request, "-out", self.file(f"{name}.crt"), "-days", days, "-extfile", extensions,
            "-CA", self.file("ca.crt"), "-CAkey", self.file("ca.key"), "-CAcreateserial",
        )  # fmt: skip

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], capture_output=True, check=True, timeout=60)
