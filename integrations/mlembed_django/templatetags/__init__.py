"""Tags of the admin's templates."""

from __future__ import annotations
