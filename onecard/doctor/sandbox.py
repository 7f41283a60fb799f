"""Can this machine run code that nobody trusts?"""

from onecard.doctor.finding import Finding
from onecard.types import UserError
from rewards.sandbox.proven import proven_sandbox


def check_sandbox_here() -> Finding:
    """Whether the sandbox for code rewards can be built here, and holds against its own attacks."""
    try:
        proven_sandbox()
    except UserError as error:
        return Finding("sandbox", None, str(error), "only rewards that run code need it")
    return Finding("sandbox", True, "holds against its own attacks; code rewards can be used")
