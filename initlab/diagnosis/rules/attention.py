"""Rules for transformers: equal tokens, attention on one key, logits and streams that grow, a loud start."""

from __future__ import annotations

from initlab.diagnosis.remedies_transformers import (
    apart_tokens,
    calmer_attention,
    calmer_updates,
    even_stream,
    quieter_head,
    warm_up,
)
from initlab.diagnosis.rules.bounds import (
    COLLAPSED_HEADS,
    LOUD_START,
    RANK_COLLAPSED,
    STREAM_GROWTH,
)
from initlab.diagnosis.rules.evidence import Evidence
from initlab.diagnosis.rules.outcome import has_not_learned
from initlab.spec import Finding, Severity


def rank_collapse(e: Evidence) -> Finding | None:
    """All tokens of a sequence are one and the same behind the last block, before training."""
    cosines = {s: v for s, v in e.at_start("token_cosine").items() if s}
    last = e.at_start("token_cosine").get("")
    if last is None or last <= RANK_COLLAPSED:
        return None
    # deep networks with norms before the branches come near it and train: what was learned decides, and where only the
    # frequencies of the answers were, tokens are the same to the end
    ended = e.at_end("token_cosine").get("", 0.0)
    severity: Severity = "failure" if has_not_learned(e) else "warning" if ended > RANK_COLLAPSED else "note"
    return Finding(
        name="rank_collapse",
        severity=severity,
        evidence=f"at initialisation two tokens of one sequence have a mean cosine of {last:.3f} behind the last of"
        f" {len(cosines)} blocks: to the head they are the same token"
        + (f" ({ended:.3f} at the end)" if severity == "warning" else ""),
        source="attention averages tokens, and what keeps them apart is the shortcut (Dong et al., ICML 2021; Noci et"
        " al., NeurIPS 2022)",
        remedies=apart_tokens(e.params) if severity != "note" else (),
    )


def post_norm_without_warmup(e: Evidence) -> Finding | None:
    """A post-norm transformer that learned nothing without small first updates."""
    if e.params.get("model.norm_at") != "post" or e.params.get("lr_schedule.warmup") or not has_not_learned(e):
        return None
    return Finding(
        name="post_norm_without_warmup",
        severity="failure",
        evidence=f"norms stand behind the sums (model.norm_at=post), and the first of {e.steps} updates had the whole"
        f" learning rate, {e.params.get('optimizer.lr')}",
        source="in a post-norm network the gradient of the last blocks is large before training: it needs small first"
        " updates (Xiong et al., ICML 2020)",
        remedies=(*apart_tokens(e.params)[:1], warm_up(), *apart_tokens(e.params)[1:]),
    )


def saturated_attention(e: Evidence) -> Finding | None:
    """Many heads look at a single token before training: their softmax passes almost no gradient."""
    share, largest = e.at_start("collapsed_heads").get(""), e.at_start("logit_max").get("")
    if share is None or largest is None or share <= COLLAPSED_HEADS:
        return None
    return Finding(
        name="saturated_attention",
        severity="failure" if has_not_learned(e) else "warning",
        evidence=f"at initialisation {share:.0%} of the heads spread less than a tenth of the largest entropy over the"
        f" tokens they see; the largest logit is {largest:.3g}",
        source="logits of a deviation far above 1 choose one key at random, and a softmax that has chosen passes no"
        " gradient (Vaswani et al., 2017, section 3.2.1; Zhai et al., ICML 2023)",
        remedies=calmer_attention(e.params),
    )


def entropy_collapse(e: Evidence) -> Finding | None:
    """Heads that looked at many tokens before training look at a single one at its end, and little was learned."""
    first, last = e.at_start("collapsed_heads").get(""), e.at_end("collapsed_heads").get("")
    if first is None or last is None or first > COLLAPSED_HEADS or last <= COLLAPSED_HEADS:
        return None
    largest = e.at_end("logit_max").get("", float("nan"))
    lost = has_not_learned(e)
    return Finding(
        name="entropy_collapse",
        severity="warning" if lost else "note",
        evidence=f"{first:.0%} of the heads looked at one token at initialisation, {last:.0%} at the end, where the"
        f" largest logit is {largest:.3g}",
        source="entropy that falls while the loss does not is what precedes divergence (Zhai et al., ICML 2023; logits"
        " above 10⁴ did in Wortsman et al., ICLR 2024)",
        remedies=calmer_updates(e.params) if lost else (),
    )


def growing_stream(e: Evidence) -> Finding | None:
    """The stream of tokens grows so much over the blocks that half precision loses what later blocks add."""
    growth = e.at_start("stream_growth").get("")
    if growth is None or growth <= STREAM_GROWTH or growth == float("inf"):
        return None
    return Finding(
        name="growing_stream",
        severity="failure" if has_not_learned(e) else "note",
        evidence=f"at initialisation the tokens' root mean square grows {growth:.3g}-fold from the first block's input"
        " to the last block's output",
        source="branches add their variance to the stream: 1/√(2L) at their ends bounds it (Radford et al., 2019)",
        remedies=even_stream(e.params),
    )


def high_start_loss(e: Evidence) -> Finding | None:
    """A transformer whose first answers are sure and wrong: its head's scale is too large."""
    start, untrained = e.initial_loss(), e.baseline.untrained
    if start is None or not e.rows("attention_entropy") or not start > untrained + LOUD_START:
        return None
    return Finding(
        name="high_start_loss",
        severity="failure" if has_not_learned(e) and start > untrained + 2 * LOUD_START else "note",
        evidence=f"the loss before training is {start:.3g}; {e.baseline.words}, and logits near zero begin there",
        source="logits of deviation s add s²/2 to ln V; GPT-2's head starts at 0.02 (Radford et al., 2019)",
        remedies=quieter_head(e.params),
    )
