"""Make up a shop's customers and orders: seeded, so that the same day gives the same shop.

Customers order at a rhythm of their own, and pause at times. Some leave: they order less often and
send more back before they stop, which is what a model can learn. An account without an order is
closed in time.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

import numpy as np

from backoffice.customers import CLOSED_AFTER
from backoffice.models import Customer, Order, Segment

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST = (
    *("Ada", "Aino", "Anton", "Astrid", "Bruno", "Clara", "Dario", "Edda", "Elias", "Emil"),
    *("Esther", "Finn", "Freya", "Greta", "Hanna", "Hugo", "Ida", "Ines", "Jonas", "Jule"),
    *("Karl", "Lena", "Liv", "Lukas", "Maja", "Malik", "Marta", "Mina", "Nadia", "Noah"),
    *("Nora", "Oskar", "Paula", "Pia", "Rafael", "Runa", "Samir", "Selma", "Theo", "Yara"),
)
LAST = (
    *("Ahlberg", "Andersen", "Bauer", "Berg", "Brandt", "Costa", "Dahl", "Eriksen", "Fischer"),
    *("Friis", "Gruber", "Haas", "Hansen", "Holm", "Iversen", "Jansen", "Keller", "Kowalski"),
    *("Krause", "Larsen", "Lind", "Madsen", "Meyer", "Moreau", "Novak", "Nyberg", "Olsen"),
    *("Petersen", "Quist", "Rossi", "Sander", "Schmidt", "Sommer", "Svensson", "Thomsen"),
    *("Ullmann", "Vogel", "Weber", "Winter", "Zeller"),
)
FIRMS = {
    Segment.OFFICE: ("Architects", "Dental", "Law", "Logistics", "Media", "Optics", "Software"),
    Segment.CAFE: ("Bakery", "Bistro", "Café", "Corner", "Deli", "Espresso Bar", "Kitchen"),
}
TOWNS = ("Kiel", "Lübeck", "Flensburg", "Aarhus", "Odense", "Malmö", "Rostock", "Husum")
TOWN_WEIGHTS = (26, 18, 12, 14, 8, 10, 8, 4)


@dataclasses.dataclass(frozen=True)
class Habit:
    """How the customers of a segment buy.

    Attributes:
        share: Of all customers.
        gap_days: From one order to the next.
        bags: Of an order.
        cents: Of a bag.
        stays_days: Mean time until one leaves.
    """

    share: float
    gap_days: float
    bags: float
    cents: int
    stays_days: float


HABITS = {
    Segment.HOME: Habit(0.62, 30.0, 2.5, 1290, 640.0),
    Segment.OFFICE: Habit(0.24, 20.0, 7.0, 1150, 900.0),
    Segment.CAFE: Habit(0.14, 9.0, 18.0, 990, 1000.0),
}
HISTORY_DAYS = 800
PAUSES = 0.05  # of the gaps between orders
FADING_DAYS = 75.0


class Simulation:
    """A shop until *today*.

    Args:
        n_customers: Number of customers who ever joined.
        today: Nothing is later.
        seed: Of everything random.
    """

    def __init__(self, n_customers: int, today: dt.datetime, seed: int = 1) -> None:
        self.today = today
        self._n = n_customers
        self._random = np.random.default_rng(seed)

    def customers(self) -> Iterator[tuple[Customer, list[Order]]]:
        """Yield each customer with the orders, the oldest first; neither is saved."""
        segments = list(HABITS)
        shares = [HABITS[segment].share for segment in segments]
        for number in range(self._n):
            segment = segments[self._random.choice(len(segments), p=shares)]
            yield self._customer(number, segment)

    def _customer(self, number: int, segment: Segment) -> tuple[Customer, list[Order]]:
        random, habit = self._random, HABITS[segment]
        age_days = HISTORY_DAYS * random.beta(1.0, 1.15)
        newsletter = bool(random.random() < 0.45)  # noqa: PLR2004  a share
        name = self._name(segment)
        customer = Customer(
            name=name,
            email=f"{_slug(name)}.{number}@example.com",
            town=str(random.choice(TOWNS, p=np.array(TOWN_WEIGHTS) / sum(TOWN_WEIGHTS))),
            segment=segment,
            newsletter=newsletter,
            joined=self.today - dt.timedelta(days=age_days),
        )
        stays = random.exponential(habit.stays_days * (1.5 if newsletter else 0.8))
        gap = habit.gap_days * random.lognormal(0.0, 0.35)
        days = self._order_days(age_days, stays, gap)
        orders = [self._order(customer, habit, day, stays) for day in days]
        closed = orders[-1].placed + CLOSED_AFTER
        customer.closed = closed if closed <= self.today else None
        return customer, orders

    def _order_days(self, age_days: float, stays: float, gap: float) -> list[float]:
        """Return the days, counted from joining, on which one orders."""
        day, days = 0.02, [0.02]
        while True:
            slower = 1.5 if day > stays - FADING_DAYS else 1.0
            if self._random.random() < PAUSES:
                slower *= self._random.uniform(1.5, 2.4)
            day += max(1.0, gap * self._random.gamma(5.0, 0.2) * slower)
            if day >= min(age_days, stays):
                return days
            days.append(day)

    def _order(self, customer: Customer, habit: Habit, day: float, stays: float) -> Order:
        random = self._random
        fading = day > stays - FADING_DAYS
        bags = 1 + int(random.poisson(max(habit.bags - 1, 0.2) * (0.75 if fading else 1.0)))
        cents = round(habit.cents * random.lognormal(0.0, 0.12) / 10) * 10
        placed = customer.joined + dt.timedelta(days=day)
        return Order(
            customer=customer,
            placed=min(placed, self.today),
            bags=bags,
            total_cents=bags * cents,
            returned=bool(random.random() < (0.16 if fading else 0.035)),
        )

    def _name(self, segment: Segment) -> str:
        random = self._random
        last = str(random.choice(LAST))
        if segment in FIRMS:
            return f"{last} {random.choice(FIRMS[segment])}"
        return f"{random.choice(FIRST)} {last}"


def _slug(name: str) -> str:
    return name.lower().replace(" ", ".").replace("é", "e")
