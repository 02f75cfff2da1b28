"""Two people who may log in: who runs the shop, and who calls its customers."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from django.contrib.auth.models import Group, Permission, User

if TYPE_CHECKING:
    from pathlib import Path

OWNER, SALES = "owner", "sales"
MAY = (
    *("view_customer", "report_customer", "view_order"),
    *("view_calllistentry", "change_calllistentry"),
)


def logins(file: Path) -> dict[str, str]:
    """Return the password of each, random where they are made now; *file* keeps them.

    The owner may do everything. Sales sees customers, calls them and reports what came of it, but
    neither asks the model nor sees the admin.
    """
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if all(
        User.objects.filter(username=name).exists() and name in known for name in (OWNER, SALES)
    ):
        return dict(known)
    passwords = {name: secrets.token_urlsafe(9) for name in (OWNER, SALES)}
    owner, _ = User.objects.get_or_create(username=OWNER)
    owner.is_staff = owner.is_superuser = True
    sales, _ = User.objects.get_or_create(username=SALES)
    for user in (owner, sales):
        user.set_password(passwords[user.username])
        user.save()
    sellers, _ = Group.objects.get_or_create(name="Sales")
    sellers.permissions.set(
        Permission.objects.filter(content_type__app_label="backoffice", codename__in=MAY)
    )
    sales.groups.add(sellers)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(json.dumps(passwords), encoding="utf-8")
    return passwords
