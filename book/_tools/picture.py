"""Draw the README's picture: phantoms with their inner and outer sets at alpha = 0.1.

python book/_tools/picture.py
"""

from pathlib import Path

import matplotlib.pyplot as plt

from confseg import ConfidenceSets, metrics, phantoms, plots

plots.style()
lesions = phantoms.Lesions(spacing=(0.8, 0.8))
method = ConfidenceSets(alpha=0.1).calibrate(phantoms.cases(500, lesions, seed=1))

fig, axes = plt.subplots(1, 3, figsize=(7.5, 3.3))
for ax, case in zip(axes, phantoms.cases(3, lesions, seed=2), strict=True):
    sets = method.predict(case.score)
    kept = metrics.coverage(sets, case.truth).joint
    ax.set_title(
        "both promises kept" if kept else "a promise broken", fontsize=12
    )
    plots.show_slice(
        ax,
        case.score,
        truth=case.truth,
        inner=sets.inner,
        outer=sets.outer,
        spacing=case.spacing,
    )
plots.mask_legend(axes)
fig.savefig(Path(__file__).parents[1] / "_static" / "sets.webp")
