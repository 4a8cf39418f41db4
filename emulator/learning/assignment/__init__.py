"""Who updates how much of a model, on which part of the band: TinyFEL's joint assignment, usable by itself.

Chen et al., IEEE IoT-J 12(7), 2025 (DOI 10.1109/JIOT.2024.3499375). What the abstract says: update ratios, device selection
and resource allocation are assigned together, to minimise the latency of computation and communication under a
convergence requirement, by ADMM and BCD. What is inferred (ours): every formula, the order of the updates, the exchanges
after them, and that ratios come from a list of suffixes.
"""

from emulator.learning.assignment.domain import Assignment, Candidate, Choice, Infeasible, Round, strength_hz
from emulator.learning.assignment.solver import UNIFORM, Solver, solve

__all__ = ["UNIFORM", "Assignment", "Candidate", "Choice", "Infeasible", "Round", "Solver", "solve", "strength_hz"]
