"""How the numbers of a report come about, with the equations, in one section."""

from __future__ import annotations

from rulerlab.report.blocks import Formula, Section, Text, Words


def method() -> Section:
    """The definitions behind every number of the page, and where they are from."""
    return Section("Method", (
        Text(Words(
            "Points are counted from the held end, $k = 0$, to the pulled end. With $x_k$ the "
            "place of a point along the pull, segment $l$ carries the load $d_l$: its extension "
            "at the end of the pull beyond the rest before. What is left to carry after segment "
            "$l$ is the load curve $D_l$; $D_0$ is the whole load.")),
        Formula((
            "d_l = (x_l − x_{l−1})_{end} − (x_l − x_{l−1})_{rest}",
            "D_l = d_{l+1} + d_{l+2} + … + d_L",
        )),
        Text(Words(
            "Its shape is told by two numbers (Shi, Pan and Dokmanić 2025), here as shares of "
            "the total, so that millimetres, chains and networks compare:")),
        Formula((
            "c = d_1 − d_L",
            "v^2 = Σ_l (d_l − \\bar{d})^2 / L",
            "\\tilde{c} = c / D_0",
            "\\tilde{v} = v / D_0",
        )),
        Text(Words(
            "$\\tilde{c}$ up to −0.06 is called concave (the load sits near the pulled end), from "
            "+0.06 convex (near the held end), between them linear (evenly shared). $r$ is the "
            "correlation of $D_l$ with $l$, −1 for a straight line.")),
        Text(Words(
            "Every error bar is one standard deviation. Each mark has its own covariance, scaled "
            "until rigid sections (or a straight rail) scatter as much as it says; scale and board "
            "move all marks together and are carried as patterns $p_s$. Neighbouring loads share "
            "a point, so the loads have a full covariance, and a shape number $f$ the error that "
            "its gradient $g$ leaves:")),
        Formula((
            "Σ_x = Σ_{marks} + Σ_s p_s p_s^T",
            "Σ_d = A Σ_x A^T",
            "σ_f^2 = g^T Σ_d g",
        )),
        Text(Words(
            "In the chain (stiffness $k$, no inertia) dry friction $μ$ and shaking $ε$ decide how "
            "the load is shared. $S$ is zero as long as friction holds, $ξ$ are independent "
            "kicks:")),
        Formula((
            "γ \\dot{x}_l = S(k (x_{l+1} − 2 x_l + x_{l−1}) + ε ξ_l)",
            "S(f) = f − μ_→ \\mathrm{ if } f > μ_→",
            "S(f) = f + μ_← \\mathrm{ if } f < −μ_←",
            "S(f) = 0 \\mathrm{ otherwise}",
        )),
        Text(Words(
            "Pulled without shaking, the moved segments differ by $d_{l+1} − d_l = μ_→/k$ "
            "(concave); shaken for long, by $(μ_→ − μ_←)/2k$, which is zero for equal friction "
            "(linear). In a network $D_l$ is the logarithm of the scatter within the classes over "
            "that between them after layer $l$; nonlinearity plays the part of friction, training "
            "noise that of shaking:")),
        Formula((
            "D_l = \\mathrm{log}( \\mathrm{tr} S_W / \\mathrm{tr} S_B )",
        )),
        Text(Words(
            "Sources: C. Shi, L. Pan, I. Dokmanić, Spring-block theory of feature learning in "
            "deep neural networks, Phys. Rev. Lett. (2025), arXiv:2407.19353. H. He, W. J. Su, A "
            "law of data separation in deep learning, PNAS 120 (2023)."), quiet=True),
    ))
