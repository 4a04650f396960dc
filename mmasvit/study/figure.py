"""The figure of a study."""
import math
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Sequence, Union

from mmasvit.plotting import label, save_figure, subplots

if TYPE_CHECKING:
    from mmasvit.study.table import Finding, Row


def plot_study(rows: Sequence['Row'], findings: Dict[str, 'Finding'],
               score: str, out_file: Union[str, Path]) -> None:
    """Draw every measure against the score, as figure 2 of the paper does.

    Args:
        rows: One per topology.
        findings: What each measure says.
        score: What the scores are called.
        out_file: PNG to write.
    """
    columns = min(4, len(findings))
    lines = math.ceil(len(findings) / columns)
    figure, axes = subplots(lines, columns, figsize=(3.2 * columns, 2.9 * lines),
                            squeeze=False, sharey=True)
    trained = [row.score for row in rows]
    for panel, (name, finding) in zip(axes.flat, findings.items()):
        values = [row.measures[name].mean for row in rows]
        correlation = finding.correlation
        panel.scatter(values, trained, s=14,
                      color='C0' if correlation.is_clear else '0.6')
        if min(values) > 0 and max(values) > 20 * min(values):
            panel.set_xscale('log')
        panel.set_xlabel(name.replace('_', ' '), fontsize=8)
        panel.set_title('tau {:+.2f} ({:+.2f} to {:+.2f})'.format(
            correlation.tau, *correlation.interval), fontsize=9)
        panel.tick_params(labelsize=7)
        if panel.get_xscale() == 'linear':
            panel.locator_params(axis='x', nbins=4)
            panel.xaxis.get_offset_text().set_fontsize(7)
        panel.grid(alpha=0.3)
    for panel in axes.flat[len(findings):]:
        panel.remove()
    for panel in axes[:, 0]:
        panel.set_ylabel(f'{label(score)} (%)', fontsize=8)
    save_figure(figure, out_file)
