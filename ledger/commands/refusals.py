"""Refusals by the executor, beside those of the domain."""

from ledger.domain.values.refusals import Refusal


class KeyMissing(Refusal):
    """A creation needs an Idempotency-Key, or an id of its own."""

    code = "idempotency_key_missing"


class KeyReused(Refusal):
    """The Idempotency-Key was used for another request."""

    code = "idempotency_key_reused"


class VersionMismatch(Refusal):
    """It has changed since you read it: its version is not the one in If-Match."""

    code = "version_mismatch"


class Contended(Refusal):
    """Others change it at the same time, again and again. Try again."""

    code = "contended"
