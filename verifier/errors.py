"""One root exception; the docstring of each class is its default message.

*No face* and *mismatch* are results, never exceptions (see :mod:`verifier.types`).
Every error says what is wrong and what to do about it; the HTTP edge turns it into
problem details (RFC 9457) with ``status`` and ``code``.
"""

from __future__ import annotations

from typing import ClassVar


class BenrenError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    """HTTP status code that the edge answers with."""
    retry_after_s: int | None = None
    """Seconds after which a retry makes sense, or None where it does not."""

    def __init__(self, detail: str = "", *, remedy: str = "", retry_after_s: int | None = None):
        self.detail = detail or (type(self).__doc__ or "").strip().splitlines()[0]
        self.remedy = remedy
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s
        super().__init__(f"{self.detail} {self.remedy}".strip())

    @property
    def code(self) -> str:
        """The machine-readable name: ``ImageTooLarge`` -> ``image_too_large``."""
        name = type(self).__name__
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")

    @property
    def members(self) -> dict[str, list[str]]:
        """Further members of the problem details, such as the reasons of a refusal."""
        return {}


class ConfigurationError(BenrenError):
    """The configuration cannot work."""


class InstallationError(ConfigurationError):
    """The installed packages exclude each other."""


class ModelError(ConfigurationError):
    """A model cannot be used."""


class ModelMissing(ModelError):
    """A model file is missing."""


class ModelAltered(ModelError):
    """A model file does not have the digest of the manifest."""


class ModelDownloadFailed(ModelError):
    """A model file could not be downloaded."""


class LicenceNotAccepted(ModelError):
    """These weights may only be used after their licence was accepted."""


class ProviderUnavailable(ModelError):
    """The requested execution provider is not the one that runs."""


class ModelTooLarge(ModelError):
    """A model does not fit into the memory of the device that should run it."""


class KeyUnusable(ConfigurationError):
    """A key cannot be used."""


class UnknownKey(BenrenError):
    """The key that made it is not in the key ring."""

    status = 422


class SealBroken(BenrenError):
    """The sealed data was altered, or does not belong here."""

    status = 422


class SignatureInvalid(BenrenError):
    """The signature does not fit."""

    status = 422


class InferenceFailed(BenrenError):
    """A network did not give a usable result."""


class Overloaded(BenrenError):
    """The queue is full."""

    status = 503
    retry_after_s = 1


class ImageError(BenrenError):
    """The image cannot be used."""

    status = 422


class ImageTooLarge(ImageError):
    """The image is larger than allowed."""

    status = 413


class ImageUnreadable(ImageError):
    """The bytes are not a whole JPEG, PNG or WebP image."""


class TemplateError(BenrenError):
    """The template cannot be used."""

    status = 422


class TemplateTampered(TemplateError):
    """The template was altered, belongs to another subject, or its key is unknown."""


class TemplateOfAnotherModel(TemplateError):
    """The template was made by another embedding model."""

    status = 409


class NotFound(BenrenError):
    """There is no such thing."""

    status = 404


class Conflict(BenrenError):
    """The request contradicts what is already recorded."""

    status = 409


class Refused(BenrenError):
    """The rules do not allow this."""

    status = 403


class Unauthorised(BenrenError):
    """A valid API key or token is needed."""

    status = 401


class BadRequest(BenrenError):
    """The request cannot be understood."""

    status = 400


class RequestTooLarge(BenrenError):
    """The request is larger than allowed."""

    status = 413


class RequestTimeout(BenrenError):
    """The request did not arrive in time."""

    status = 408


class UnsupportedMediaType(BenrenError):
    """The content type is not understood here."""

    status = 415


class TooManyRequests(BenrenError):
    """Too many requests."""

    status = 429
    retry_after_s = 1


class StreamGone(BenrenError):
    """The stream is closed or was lost; ask the tracker for a new one."""

    status = 410


class StreamTakenOver(StreamGone):
    """Another window or device sends now: come back only where the learner wants it."""


class StorageError(BenrenError):
    """The database cannot be written."""

    status = 503
    retry_after_s = 5
