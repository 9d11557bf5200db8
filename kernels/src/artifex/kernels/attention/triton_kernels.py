r"""Attention's Triton kernels, one forward and two backward; scores are computed tile by tile and never stored.

With $s_{ts}$ the scores and $L_t$ their log-sum-exp, both in units of $\ln 2$, $p_{ts} = 2^{s_{ts} - L_t}$ and

$$dv_s = \sum_t p_{ts}\, do_t,\quad ds_{ts} = p_{ts} (do_t \cdot v_s - \delta_t),\quad
  dq_t = \mathrm{scale} \sum_s ds_{ts} k_s,\quad dk_s = \mathrm{scale} \sum_t ds_{ts} q_t,\quad
  \delta_t = do_t \cdot o_t - dL_t$$

Triton's tiles are as wide as a power of two. A head of any width is split into two of them, ``0`` and ``1``: 72 into
64 + 16, where padding to 128 would take 1.6 times as many multiplications. A part of width 0 is omitted.

All kernels share their constants: ``sizes`` (tokens, keys, heads, width of q and k, width of v), ``parts`` (the widths
of both parts of q and k, then of v), ``strides`` (of bias, then of mask: batch, heads, tokens, keys; 0 where
broadcast), ``given`` (a bias, a mask, segments, causal), ``tile`` (queries, keys) and ``scale``. The layout of arrays
is ``(batch, tokens, heads, width)``.

References: Milakov and Gimelshein 2018, https://arxiv.org/abs/1805.02867; Dao 2023, https://arxiv.org/abs/2307.08691
"""

import triton.language as tl

from artifex.kernels.platform import triton_jit


@triton_jit
def program_block(per_head: tl.constexpr, heads: tl.constexpr) -> tl.tensor:
    """The block, head and sample of a program."""
    head = tl.program_id(0) // per_head
    return tl.program_id(0) % per_head, (head // heads).to(tl.int64), (head % heads).to(tl.int64)


@triton_jit
def load(
    x: tl.tensor, rows: tl.tensor, cols: tl.tensor, n: tl.constexpr, width: tl.constexpr, h: tl.constexpr
) -> tl.tensor:
    """The tile of one head at ``rows`` and ``cols``, with zeros beyond ``n`` rows and ``width`` columns."""
    rows = rows[:, None]
    return tl.load(x + rows * (h * width) + cols, mask=(rows < n) & (cols < width), other=0.0)


@triton_jit
def store(
    x: tl.tensor,
    tile: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
    n: tl.constexpr,
    width: tl.constexpr,
    h: tl.constexpr,
) -> None:
    """Write a tile as ``load`` reads it."""
    rows = rows[:, None]
    tl.store(x + rows * (h * width) + cols, tile.to(x.dtype.element_ty), mask=(rows < n) & (cols < width))


@triton_jit
def hide(
    scores: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
    b: tl.tensor,
    n: tl.tensor,
    bias: tl.tensor,
    mask: tl.tensor,
    q_segments: tl.tensor,
    k_segments: tl.tensor,
    sizes: tl.constexpr,
    strides: tl.constexpr,
    given: tl.constexpr,
    scale: tl.constexpr,
) -> tl.tensor:
    """Turn products of queries and keys into scores: scaled, with the bias, minus infinity where masked.

    ``rows`` and ``cols`` are the tokens and keys of the tile, along either axis.
    """
    t: tl.constexpr = sizes[0]
    s: tl.constexpr = sizes[1]
    visible = (rows < t) & (cols < s)
    scores *= scale * 1.4426950408889634
    if given[0]:
        at = b * strides[0] + n * strides[1] + rows * strides[2] + cols * strides[3]
        scores += tl.load(bias + at, mask=visible, other=0.0).to(tl.float32) * 1.4426950408889634
    if given[1]:
        at = b * strides[4] + n * strides[5] + rows * strides[6] + cols * strides[7]
        visible &= tl.load(mask + at, mask=visible, other=0) != 0
    if given[2]:
        of_query = tl.load(q_segments + b * t + rows, mask=rows < t, other=0)
        of_key = tl.load(k_segments + b * s + cols, mask=cols < s, other=0)
        visible &= of_query == of_key
    if given[3]:
        visible &= rows >= cols
    return tl.where(visible, scores, -float("inf"))


@triton_jit
def forward_kernel(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    bias: tl.tensor,
    mask: tl.tensor,
    q_segments: tl.tensor,
    k_segments: tl.tensor,
    out: tl.tensor,
    lse: tl.tensor,
    sizes: tl.constexpr,
    parts: tl.constexpr,
    strides: tl.constexpr,
    given: tl.constexpr,
    tile: tl.constexpr,
    scale: tl.constexpr,
) -> None:
    """The output and the log-sum-exp of a block of tokens."""
    t: tl.constexpr = sizes[0]
    s: tl.constexpr = sizes[1]
    h: tl.constexpr = sizes[2]
    d: tl.constexpr = sizes[3]
    e: tl.constexpr = sizes[4]
    queries: tl.constexpr = tile[0]
    keys: tl.constexpr = tile[1]
    block, b, n = program_block((t + queries - 1) // queries, h)
    q += (b * t * h + n) * d
    k += (b * s * h + n) * d
    v += (b * s * h + n) * e
    out += (b * t * h + n) * e

    rows = block * queries + tl.arange(0, queries)
    d_0 = tl.arange(0, parts[0])[None, :]
    e_0 = tl.arange(0, parts[2])[None, :]
    q_0 = load(q, rows, d_0, t, d, h)
    mixed_0 = tl.zeros([queries, parts[2]], tl.float32)
    if parts[1] > 0:
        d_1 = parts[0] + tl.arange(0, parts[1])[None, :]
        q_1 = load(q, rows, d_1, t, d, h)
    if parts[3] > 0:
        e_1 = parts[2] + tl.arange(0, parts[3])[None, :]
        mixed_1 = tl.zeros([queries, parts[3]], tl.float32)
    top = tl.full([queries], -float("inf"), tl.float32)
    total = tl.zeros([queries], tl.float32)

    end = s
    if given[3]:
        end = tl.minimum(s, (block + 1) * queries)
    for start in range(0, end, keys):
        cols = start + tl.arange(0, keys)
        scores = tl.dot(q_0, tl.trans(load(k, cols, d_0, s, d, h)), input_precision="ieee")
        if parts[1] > 0:
            scores = tl.dot(q_1, tl.trans(load(k, cols, d_1, s, d, h)), scores, input_precision="ieee")
        scores = hide(
            scores,
            rows[:, None],
            cols[None, :],
            b,
            n,
            bias,
            mask,
            q_segments,
            k_segments,
            sizes,
            strides,
            given,
            scale,
        )
        higher = tl.maximum(top, tl.max(scores, 1))
        # A row without keys so far has no largest score; any finite one keeps its weights at zero.
        level = tl.where(higher == -float("inf"), 0.0, higher)
        weights = tl.exp2(scores - level[:, None])
        fade = tl.exp2(top - level)
        total = total * fade + tl.sum(weights, 1)
        top = higher
        weights = weights.to(v.dtype.element_ty)
        mixed_0 = tl.dot(weights, load(v, cols, e_0, s, e, h), mixed_0 * fade[:, None], input_precision="ieee")
        if parts[3] > 0:
            mixed_1 = tl.dot(weights, load(v, cols, e_1, s, e, h), mixed_1 * fade[:, None], input_precision="ieee")

    total = tl.where(top == -float("inf"), 1.0, total)
    store(out, mixed_0 / total[:, None], rows, e_0, t, e, h)
    if parts[3] > 0:
        store(out, mixed_1 / total[:, None], rows, e_1, t, e, h)
    tl.store(lse + (b * h + n) * t + rows, (top + tl.log2(total)) * 0.6931471805599453, mask=rows < t)


@triton_jit
def queries_kernel(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    bias: tl.tensor,
    mask: tl.tensor,
    q_segments: tl.tensor,
    k_segments: tl.tensor,
    d_out: tl.tensor,
    lse: tl.tensor,
    delta: tl.tensor,
    d_q: tl.tensor,
    sizes: tl.constexpr,
    parts: tl.constexpr,
    strides: tl.constexpr,
    given: tl.constexpr,
    tile: tl.constexpr,
    scale: tl.constexpr,
) -> None:
    """The gradient of a block of tokens."""
    t: tl.constexpr = sizes[0]
    s: tl.constexpr = sizes[1]
    h: tl.constexpr = sizes[2]
    d: tl.constexpr = sizes[3]
    e: tl.constexpr = sizes[4]
    queries: tl.constexpr = tile[0]
    keys: tl.constexpr = tile[1]
    block, b, n = program_block((t + queries - 1) // queries, h)
    q += (b * t * h + n) * d
    k += (b * s * h + n) * d
    v += (b * s * h + n) * e
    d_out += (b * t * h + n) * e
    d_q += (b * t * h + n) * d

    rows = block * queries + tl.arange(0, queries)
    d_0 = tl.arange(0, parts[0])[None, :]
    e_0 = tl.arange(0, parts[2])[None, :]
    q_0 = load(q, rows, d_0, t, d, h)
    d_out_0 = load(d_out, rows, e_0, t, e, h)
    d_q_0 = tl.zeros([queries, parts[0]], tl.float32)
    if parts[1] > 0:
        d_1 = parts[0] + tl.arange(0, parts[1])[None, :]
        q_1 = load(q, rows, d_1, t, d, h)
        d_q_1 = tl.zeros([queries, parts[1]], tl.float32)
    if parts[3] > 0:
        e_1 = parts[2] + tl.arange(0, parts[3])[None, :]
        d_out_1 = load(d_out, rows, e_1, t, e, h)
    level = tl.load(lse + (b * h + n) * t + rows, mask=rows < t, other=float("inf")) * 1.4426950408889634
    shift = tl.load(delta + (b * h + n) * t + rows, mask=rows < t, other=0.0)

    end = s
    if given[3]:
        end = tl.minimum(s, (block + 1) * queries)
    for start in range(0, end, keys):
        cols = start + tl.arange(0, keys)
        k_0 = load(k, cols, d_0, s, d, h)
        scores = tl.dot(q_0, tl.trans(k_0), input_precision="ieee")
        d_weights = tl.dot(d_out_0, tl.trans(load(v, cols, e_0, s, e, h)), input_precision="ieee")
        if parts[1] > 0:
            k_1 = load(k, cols, d_1, s, d, h)
            scores = tl.dot(q_1, tl.trans(k_1), scores, input_precision="ieee")
        if parts[3] > 0:
            d_weights = tl.dot(d_out_1, tl.trans(load(v, cols, e_1, s, e, h)), d_weights, input_precision="ieee")
        scores = hide(
            scores,
            rows[:, None],
            cols[None, :],
            b,
            n,
            bias,
            mask,
            q_segments,
            k_segments,
            sizes,
            strides,
            given,
            scale,
        )
        d_scores = tl.exp2(scores - level[:, None]) * (d_weights - shift[:, None])
        d_scores = d_scores.to(q.dtype.element_ty)
        d_q_0 = tl.dot(d_scores, k_0, d_q_0, input_precision="ieee")
        if parts[1] > 0:
            d_q_1 = tl.dot(d_scores, k_1, d_q_1, input_precision="ieee")

    store(d_q, d_q_0 * scale, rows, d_0, t, d, h)
    if parts[1] > 0:
        store(d_q, d_q_1 * scale, rows, d_1, t, d, h)


@triton_jit
def keys_kernel(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    bias: tl.tensor,
    mask: tl.tensor,
    q_segments: tl.tensor,
    k_segments: tl.tensor,
    d_out: tl.tensor,
    lse: tl.tensor,
    delta: tl.tensor,
    d_k: tl.tensor,
    d_v: tl.tensor,
    sizes: tl.constexpr,
    parts: tl.constexpr,
    strides: tl.constexpr,
    given: tl.constexpr,
    tile: tl.constexpr,
    scale: tl.constexpr,
) -> None:
    """The gradients of a block of keys and values; tiles are transposed, with keys along the first axis."""
    t: tl.constexpr = sizes[0]
    s: tl.constexpr = sizes[1]
    h: tl.constexpr = sizes[2]
    d: tl.constexpr = sizes[3]
    e: tl.constexpr = sizes[4]
    queries: tl.constexpr = tile[0]
    keys: tl.constexpr = tile[1]
    block, b, n = program_block((s + keys - 1) // keys, h)
    q += (b * t * h + n) * d
    k += (b * s * h + n) * d
    v += (b * s * h + n) * e
    d_out += (b * t * h + n) * e
    d_k += (b * s * h + n) * d
    d_v += (b * s * h + n) * e
    lse += (b * h + n) * t
    delta += (b * h + n) * t

    cols = block * keys + tl.arange(0, keys)
    d_0 = tl.arange(0, parts[0])[None, :]
    e_0 = tl.arange(0, parts[2])[None, :]
    k_0 = load(k, cols, d_0, s, d, h)
    v_0 = load(v, cols, e_0, s, e, h)
    d_k_0 = tl.zeros([keys, parts[0]], tl.float32)
    d_v_0 = tl.zeros([keys, parts[2]], tl.float32)
    if parts[1] > 0:
        d_1 = parts[0] + tl.arange(0, parts[1])[None, :]
        k_1 = load(k, cols, d_1, s, d, h)
        d_k_1 = tl.zeros([keys, parts[1]], tl.float32)
    if parts[3] > 0:
        e_1 = parts[2] + tl.arange(0, parts[3])[None, :]
        v_1 = load(v, cols, e_1, s, e, h)
        d_v_1 = tl.zeros([keys, parts[3]], tl.float32)

    begin = 0
    if given[3]:
        begin = block * keys // queries * queries
    for start in range(begin, t, queries):
        rows = start + tl.arange(0, queries)
        q_0 = load(q, rows, d_0, t, d, h)
        d_out_0 = load(d_out, rows, e_0, t, e, h)
        scores = tl.dot(k_0, tl.trans(q_0), input_precision="ieee")
        d_weights = tl.dot(v_0, tl.trans(d_out_0), input_precision="ieee")
        if parts[1] > 0:
            q_1 = load(q, rows, d_1, t, d, h)
            scores = tl.dot(k_1, tl.trans(q_1), scores, input_precision="ieee")
        if parts[3] > 0:
            d_out_1 = load(d_out, rows, e_1, t, e, h)
            d_weights = tl.dot(v_1, tl.trans(d_out_1), d_weights, input_precision="ieee")
        scores = hide(
            scores,
            rows[None, :],
            cols[:, None],
            b,
            n,
            bias,
            mask,
            q_segments,
            k_segments,
            sizes,
            strides,
            given,
            scale,
        )
        level = tl.load(lse + rows, mask=rows < t, other=float("inf")) * 1.4426950408889634
        shift = tl.load(delta + rows, mask=rows < t, other=0.0)
        weights = tl.exp2(scores - level[None, :])
        d_scores = (weights * (d_weights - shift[None, :])).to(q.dtype.element_ty)
        weights = weights.to(q.dtype.element_ty)
        d_v_0 = tl.dot(weights, d_out_0, d_v_0, input_precision="ieee")
        d_k_0 = tl.dot(d_scores, q_0, d_k_0, input_precision="ieee")
        if parts[3] > 0:
            d_v_1 = tl.dot(weights, d_out_1, d_v_1, input_precision="ieee")
        if parts[1] > 0:
            d_k_1 = tl.dot(d_scores, q_1, d_k_1, input_precision="ieee")

    store(d_k, d_k_0 * scale, cols, d_0, s, d, h)
    store(d_v, d_v_0, cols, e_0, s, e, h)
    if parts[1] > 0:
        store(d_k, d_k_1 * scale, cols, d_1, s, d, h)
    if parts[3] > 0:
        store(d_v, d_v_1, cols, e_1, s, e, h)
