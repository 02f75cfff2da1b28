"""The addresses of the site."""

from __future__ import annotations

from django.urls import path

from shop import views

urlpatterns = [
    path("", views.index),
    path("health", views.health),
    path("payments/", views.create),
    path("payments/<slug:payment_id>/outcome", views.report),
]
