"""The figures of an evaluation, and what makes files of them.

Nothing here imports matplotlib before a figure is asked for; without it `UnavailableError` says
what to install.
"""

from edgecomp.evaluation.figures_bubbles import bubbles
from edgecomp.evaluation.figures_output import png, svg
from edgecomp.evaluation.figures_rate import rate_distortion
from edgecomp.evaluation.figures_stages import stages

__all__ = ["bubbles", "png", "rate_distortion", "stages", "svg"]
