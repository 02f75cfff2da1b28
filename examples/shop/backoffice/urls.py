"""The addresses of the site."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from backoffice import views

urlpatterns = [
    path("", views.index, name="dashboard"),
    path("customers/", views.customers, name="customers"),
    path("customers/<int:pk>/", views.customer, name="customer"),
    path("customers/<int:pk>/risk", views.risk, name="risk"),
    path("customers/<int:pk>/score", views.score, name="score"),
    path("customers/<int:pk>/report", views.report, name="report"),
    path("calls/", views.call_list, name="call-list"),
    path("calls/<int:pk>/outcome", views.called, name="called"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("ml/", include("mlembed_django.urls")),
    path("admin/", admin.site.urls),
]
