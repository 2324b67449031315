"""A certificate authority for one run, and what it signs."""

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from graft_core.clock import SystemClock

__all__ = ["Authority", "write_key"]

LIFETIME = timedelta(days=30)
"""Longer than any run, short enough that a forgotten one is worth nothing."""
SKEW = timedelta(hours=1)
"""Valid before now, for clocks that jump in tests."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates into one folder; `ca.crt` there is its own."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    @classmethod
    def create(cls, folder: Path) -> "Authority":
        """Make a new authority and write its certificate."""
        key = write_key(folder / "ca.key")
        name = _name("graft-test-ca", "")
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        _write(builder.sign(key, hashes.SHA256()), folder / "ca.crt")
        return cls(folder, key, name)

    def issue(self, file: str, common_name: str, *, hosts: tuple[str, ...] = (), group: str = "") -> None:
        """Write `<file>.crt` and `<file>.key`.

        Args:
            file: Their name.
            common_name: User name, where a client shows the certificate.
            hosts: DNS names and addresses, where a server shows it.
            group: Kubernetes group of the user.
        """
        key = write_key(self.folder / f"{file}.key")
        builder = _builder(_name(common_name, group), self.name, key.public_key()).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_host, hosts))), critical=False)
        _write(builder.sign(self.key, hashes.SHA256()), self.folder / f"{file}.crt")


def write_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Make a private key that only this user can read."""
    key = ec.generate_private_key(ec.SECP256R1())
    path.touch(mode=0o600)
    # SEC 1 ("EC PRIVATE KEY"): the form that every part of Kubernetes reads.
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return key


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = SystemClock().now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _name(common_name: str, group: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if group:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(parts)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(certificate: x509.Certificate, path: Path) -> None:
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
