"""The figures that a run can have: those of every run, and those that its scenario declares."""

from loadtests.errors import UsageError
from loadtests.plan.plan import Plan
from loadtests.scenarios.registry import scenario_kind
from loadtests.scenarios.scripted import Scripted
from reports.figures import CATALOGUE, Catalogue, against_measures
from reports.measures import Measures


def measures_of(plan: Plan) -> Measures:
    """Return what a plan's scenario declares; empty for a plan with several kinds of users."""
    return Measures() if plan.users else scenario_kind(plan.scenario).measures


def check_measures(plan: Plan) -> None:
    """Reject a scenario whose declaration cannot be kept apart from what every run has.

    Raises:
        UsageError: what is wrong with it.
    """
    if complaint := against_measures(measures_of(plan)):
        raise UsageError(f"scenario {plan.scenario!r}: {complaint}")


def catalogue_for(plan: Plan) -> Catalogue:
    """Return the figures that a run of a plan can have."""
    return CATALOGUE.with_those_of(*map(measures_of, plan.parts))


def against_figure(name: str, scenario: str) -> str:
    """Return why a scenario's runs cannot have a figure, and similar names; empty if they can.

    A script names what it measures as it runs, so it can have any figure.

    Raises:
        UsageError: there is no such scenario.
    """
    kind = scenario_kind(scenario)
    if issubclass(kind, Scripted):
        return ""
    return CATALOGUE.with_those_of(kind.measures).against(name)


def against_figure_of(plan: Plan, name: str) -> str:
    """Return why a run cannot have a figure, overall or of one kind of users; empty if it can."""
    user, _, rest = name.partition(".")
    of_users = {it.name: it.plan.scenario for it in plan.users}
    if user in of_users and not catalogue_for(plan).has(name):
        return against_figure(rest, of_users[user])
    complaints = [against_figure(name, part.scenario) for part in plan.parts]
    return complaints[0] if all(complaints) else ""
