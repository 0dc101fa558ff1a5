"""Which figures a run may have: those of every run, and those that its scenario declares."""

from loadtests.plan.plan import Plan
from loadtests.scenarios.registry import scenario_kind
from loadtests.scenarios.scripted import Scripted
from reports.figures import CATALOGUE, Catalogue
from reports.measures import Measures


def measures_of(plan: Plan) -> Measures:
    """Return what a plan's scenario declares; nothing for one of several kinds of users."""
    return Measures() if plan.users else scenario_kind(plan.scenario).measures


def catalogue_for(plan: Plan) -> Catalogue:
    """Return the figures that a run of a plan may have."""
    return CATALOGUE.with_those_of(*map(measures_of, plan.parts))


def against_figure(name: str, scenario: str) -> str:
    """Return why a run of a scenario has no such figure, and near names; nothing if it may.

    A script names what it measures as it goes, so that it may have any.

    Raises:
        UsageError: there is no such scenario.
    """
    kind = scenario_kind(scenario)
    if issubclass(kind, Scripted):
        return ""
    return CATALOGUE.with_those_of(kind.measures).against(name)


def against_figure_of(plan: Plan, name: str) -> str:
    """Return why a run has no such figure, of all or of one kind of users; nothing if it may."""
    user, _, rest = name.partition(".")
    of_users = {it.name: it.plan.scenario for it in plan.users}
    if user in of_users and not catalogue_for(plan).has(name):
        return against_figure(rest, of_users[user])
    complaints = [against_figure(name, part.scenario) for part in plan.parts]
    return complaints[0] if all(complaints) else ""
