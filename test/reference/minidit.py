"""Reference forward passes of six diffusion transformers, numpy only, written from the published forward passes.
One shared layer vocabulary (section 1), one short graph per architecture (section 2).
W is a dict name -> float32 array in diffusers naming; C is the diffusers config.json dict. Batch size is 1 throughout
(run classifier-free guidance as two calls). `tap(name, x)` is called with the input of every linear layer."""
import numpy as np, math
F = np.float32

# ---------------------------------------------------------------- 1. layer vocabulary
class Net:
    def __init__(s, W, C, tap=None): s.W, s.C, s.tap = W, C, tap
    def has(s, n): return n in s.W
    def lin(s, n, x):                                    # y = x W^T + b
        if s.tap: s.tap(n, x)
        y = x @ s.W[n + '.weight'].T
        return y + s.W[n + '.bias'] if s.has(n + '.bias') else y
    def ln(s, x, eps, n=None):                           # layer norm over the last axis, affine if the weights exist
        m = x.mean(-1, keepdims=True); v = ((x - m) ** 2).mean(-1, keepdims=True)
        y = (x - m) / np.sqrt(v + eps)
        if n and s.has(n + '.weight'): y = y * s.W[n + '.weight'] + s.W[n + '.bias']
        return y
    def rms(s, x, eps, n): return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * s.W[n + '.weight']
    def mlp2(s, a, b, act, x): return s.lin(b, act(s.lin(a, x)))

def silu(x): return x / (1 + np.exp(-x))
def gelu_tanh(x): return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))
def modulate(x, shift, scale): return x * (1 + scale) + shift

def sinus(t, dim, shift=0.0, period=10000.0):            # [cos | sin]; shift = downscale_freq_shift
    h = dim // 2
    w = np.exp(-math.log(period) * np.arange(h, dtype=F) / F(h - shift))
    a = F(t) * w
    return np.concatenate([np.cos(a), np.sin(a)]).astype(F)

def sincos1d(dim, pos):                                  # [sin | cos], float64 inside
    w = 1.0 / 10000 ** (np.arange(dim // 2, dtype=np.float64) / (dim / 2.0))
    a = np.outer(np.asarray(pos, np.float64), w)
    return np.concatenate([np.sin(a), np.cos(a)], 1)

def sincos2d(dim, h, w, base, interp):                   # first half of the channels encodes the COLUMN index
    py = np.arange(h, dtype=F) / F(h / base) / F(interp); px = np.arange(w, dtype=F) / F(w / base) / F(interp)
    X, Y = np.meshgrid(px, py)
    return np.concatenate([sincos1d(dim // 2, X.ravel()), sincos1d(dim // 2, Y.ravel())], 1).astype(F)

def rope_axis(dim, pos, theta):                          # angles [S, dim/2], float64
    return np.outer(np.asarray(pos, np.float64), 1.0 / theta ** (np.arange(0, dim, 2, dtype=np.float64) / dim))

def rope(x, ang):                                        # x [S,H,D]; pairs (2i, 2i+1); ang [S, D/2]
    c, s = np.cos(ang).astype(F)[:, None], np.sin(ang).astype(F)[:, None]
    a, b = x[..., 0::2], x[..., 1::2]
    y = np.empty_like(x); y[..., 0::2] = a * c - b * s; y[..., 1::2] = a * s + b * c
    return y

def sdpa(q, k, v, bias=None):                            # [S,H,D] -> [S, H*D]
    s = np.einsum('qhd,khd->hqk', q, k) / math.sqrt(q.shape[-1])
    if bias is not None: s = s + bias
    s = np.exp(s - s.max(-1, keepdims=True)); s /= s.sum(-1, keepdims=True)
    return np.einsum('hqk,khd->qhd', s, v).reshape(q.shape[0], -1)

def heads(x, h): return x.reshape(x.shape[0], h, -1)

def conv_patch(n, name, x, p):                           # x [C,H,W] -> [tokens, dim]; feature order (c, ph, pw)
    w = n.W[name + '.weight'].reshape(n.W[name + '.weight'].shape[0], -1)
    C, H, Wd = x.shape
    t = x.reshape(C, H // p, p, Wd // p, p).transpose(1, 3, 0, 2, 4).reshape(-1, C * p * p)
    if n.tap: n.tap(name, t)
    y = t @ w.T
    return y + n.W[name + '.bias'] if n.has(name + '.bias') else y

def unpatch_ppc(x, h, w, p, c):                          # token features ordered (ph, pw, c)
    return x.reshape(h, w, p, p, c).transpose(4, 0, 2, 1, 3).reshape(c, h * p, w * p)

# ---------------------------------------------------------------- 2. graphs
def dit(n, x, t, label):                                 # DiTTransformer2DModel
    C = n.C; H = C['num_attention_heads']; d = H * C['attention_head_dim']; p = C['patch_size']
    h, w = x.shape[1] // p, x.shape[2] // p
    x = conv_patch(n, 'pos_embed.proj', x, p) + sincos2d(d, h, w, C['sample_size'] // p, 1)
    def cond(i):                                         # every block stores its own copy of the two embedders
        e = f'transformer_blocks.{i}.norm1.emb.'
        return n.mlp2(e + 'timestep_embedder.linear_1', e + 'timestep_embedder.linear_2', silu, sinus(t, 256, 1.0)) \
            + n.W[e + 'class_embedder.embedding_table.weight'][label]
    for i in range(C['num_layers']):
        b = f'transformer_blocks.{i}.'
        s1, c1, g1, s2, c2, g2 = np.split(n.lin(b + 'norm1.linear', silu(cond(i))), 6)
        y = modulate(n.ln(x, 1e-6), s1, c1)
        q, k, v = (heads(n.lin(b + 'attn1.to_' + z, y), H) for z in 'qkv')
        x = x + g1 * n.lin(b + 'attn1.to_out.0', sdpa(q, k, v))
        y = modulate(n.ln(x, C.get('norm_eps', 1e-5)), s2, c2)
        x = x + g2 * n.mlp2(b + 'ff.net.0.proj', b + 'ff.net.2', gelu_tanh, y)
    sh, sc = np.split(n.lin('proj_out_1', silu(cond(0))), 2)
    x = n.lin('proj_out_2', modulate(n.ln(x, 1e-6), sh, sc))
    return unpatch_ppc(x, h, w, p, x.shape[-1] // (p * p))

def pixart(n, x, t, text, mask=None):                    # PixArtTransformer2DModel, use_additional_conditions = false
    C = n.C; H = C['num_attention_heads']; d = H * C['attention_head_dim']; p = C['patch_size']; eps = C.get('norm_eps', 1e-6)
    h, w = x.shape[1] // p, x.shape[2] // p
    interp = C.get('interpolation_scale') or max(C['sample_size'] // 64, 1)
    x = conv_patch(n, 'pos_embed.proj', x, p) + sincos2d(d, h, w, C['sample_size'] // p, interp)
    e = 'adaln_single.emb.timestep_embedder.linear_'
    temb = n.mlp2(e + '1', e + '2', silu, sinus(t, 256))
    t6 = n.lin('adaln_single.linear', silu(temb)).reshape(6, d)
    ctx = n.mlp2('caption_projection.linear_1', 'caption_projection.linear_2', gelu_tanh, text)
    bias = None if mask is None else ((1 - mask) * -10000.0)[None, None, :]
    for i in range(C['num_layers']):
        b = f'transformer_blocks.{i}.'
        s1, c1, g1, s2, c2, g2 = n.W[b + 'scale_shift_table'] + t6
        y = modulate(n.ln(x, eps), s1, c1)
        q, k, v = (heads(n.lin(b + 'attn1.to_' + z, y), H) for z in 'qkv')
        x = x + g1 * n.lin(b + 'attn1.to_out.0', sdpa(q, k, v))
        q = heads(n.lin(b + 'attn2.to_q', x), H)         # no norm before cross attention
        k, v = (heads(n.lin(b + 'attn2.to_' + z, ctx), H) for z in 'kv')
        x = x + n.lin(b + 'attn2.to_out.0', sdpa(q, k, v, bias))
        y = modulate(n.ln(x, eps), s2, c2)
        x = x + g2 * n.mlp2(b + 'ff.net.0.proj', b + 'ff.net.2', gelu_tanh, y)
    sh, sc = n.W['scale_shift_table'] + temb
    x = n.lin('proj_out', modulate(n.ln(x, 1e-6), sh, sc))
    return unpatch_ppc(x, h, w, p, x.shape[-1] // (p * p))

def flux(n, x, t, text, pooled, hw, guidance=None):      # FluxTransformer2DModel; x [tokens, 64] packed (c, ph, pw); t = sigma in 0..1
    C = n.C; H = C['num_attention_heads']; ax = C['axes_dims_rope']; T = text.shape[0]
    def te(nm, v): return n.mlp2(f'time_text_embed.{nm}.linear_1', f'time_text_embed.{nm}.linear_2', silu, v)
    temb = te('timestep_embedder', sinus(t * 1000, 256)) + te('text_embedder', pooled)
    if guidance is not None: temb = temb + te('guidance_embedder', sinus(guidance * 1000, 256))
    a = silu(temb)
    x = n.lin('x_embedder', x); c = n.lin('context_embedder', text)
    r, q_ = np.divmod(np.arange(hw[0] * hw[1]), hw[1])
    z = np.zeros(T)
    ang = np.concatenate([rope_axis(ax[0], np.concatenate([z, 0 * r]), 10000.), rope_axis(ax[1], np.concatenate([z, r]), 10000.),
                          rope_axis(ax[2], np.concatenate([z, q_]), 10000.)], 1)
    def qkv(b, names, nq, nk, y):
        q, k, v = (heads(n.lin(b + z, y), H) for z in names)
        return n.rms(q, 1e-6, b + nq), n.rms(k, 1e-6, b + nk), v
    for i in range(C['num_layers']):
        b = f'transformer_blocks.{i}.'
        s1, c1, g1, s2, c2, g2 = np.split(n.lin(b + 'norm1.linear', a), 6)
        u1, e1, h1, u2, e2, h2 = np.split(n.lin(b + 'norm1_context.linear', a), 6)
        q, k, v = qkv(b + 'attn.', ('to_q', 'to_k', 'to_v'), 'norm_q', 'norm_k', modulate(n.ln(x, 1e-6), s1, c1))
        Q, K, V = qkv(b + 'attn.', ('add_q_proj', 'add_k_proj', 'add_v_proj'), 'norm_added_q', 'norm_added_k', modulate(n.ln(c, 1e-6), u1, e1))
        o = sdpa(rope(np.concatenate([Q, q]), ang), rope(np.concatenate([K, k]), ang), np.concatenate([V, v]))
        x = x + g1 * n.lin(b + 'attn.to_out.0', o[T:])
        x = x + g2 * n.mlp2(b + 'ff.net.0.proj', b + 'ff.net.2', gelu_tanh, modulate(n.ln(x, 1e-6), s2, c2))
        c = c + h1 * n.lin(b + 'attn.to_add_out', o[:T])
        c = c + h2 * n.mlp2(b + 'ff_context.net.0.proj', b + 'ff_context.net.2', gelu_tanh, modulate(n.ln(c, 1e-6), u2, e2))
    x = np.concatenate([c, x])
    for i in range(C['num_single_layers']):
        b = f'single_transformer_blocks.{i}.'
        s1, c1, g1 = np.split(n.lin(b + 'norm.linear', a), 3)
        y = modulate(n.ln(x, 1e-6), s1, c1)
        q, k, v = qkv(b + 'attn.', ('to_q', 'to_k', 'to_v'), 'norm_q', 'norm_k', y)
        o = sdpa(rope(q, ang), rope(k, ang), v)
        x = x + g1 * n.lin(b + 'proj_out', np.concatenate([o, gelu_tanh(n.lin(b + 'proj_mlp', y))], 1))
    sc, sh = np.split(n.lin('norm_out.linear', a), 2)    # scale first here
    return n.lin('proj_out', modulate(n.ln(x[T:], 1e-6), sh, sc))

def zimage(n, x, t, text):                               # ZImageTransformer2DModel; x [16,H,W]; t = 1 - sigma
    C = n.C; H = C['n_heads']; eps = C['norm_eps']; ax = C['axes_dims']; p = 2; M = 32
    ch, hh, ww = x.shape; h, w = hh // p, ww // p
    a = n.mlp2('t_embedder.mlp.0', 't_embedder.mlp.2', silu, sinus(t * C['t_scale'], 256))
    def block(b, y, ang, mod):
        if mod:
            c1, g1, c2, g2 = np.split(n.lin(b + 'adaLN_modulation.0', a), 4)   # no silu in front
            g1, g2, c1, c2 = np.tanh(g1), np.tanh(g2), 1 + c1, 1 + c2
        else: g1 = g2 = c1 = c2 = F(1)
        u = n.rms(y, eps, b + 'attention_norm1') * c1
        q, k, v = (heads(n.lin(b + 'attention.to_' + z, u), H) for z in 'qkv')
        q, k = rope(n.rms(q, 1e-5, b + 'attention.norm_q'), ang), rope(n.rms(k, 1e-5, b + 'attention.norm_k'), ang)
        y = y + g1 * n.rms(n.lin(b + 'attention.to_out.0', sdpa(q, k, v)), eps, b + 'attention_norm2')
        u = n.rms(y, eps, b + 'ffn_norm1') * c2; f = b + 'feed_forward.w'
        return y + g2 * n.rms(n.lin(f + '2', silu(n.lin(f + '1', u)) * n.lin(f + '3', u)), eps, b + 'ffn_norm2')
    def angles(ids): return np.concatenate([rope_axis(ax[i], ids[:, i], C['rope_theta']) for i in range(3)], 1)
    L = text.shape[0]; Lp = -(-L // M) * M               # both streams padded to multiples of 32
    cap = np.concatenate([text, np.repeat(text[-1:], Lp - L, 0)])
    cap = n.lin('cap_embedder.1', n.rms(cap, eps, 'cap_embedder.0')); cap[L:] = n.W['cap_pad_token']
    cid = np.zeros((Lp, 3)); cid[:, 0] = 1 + np.arange(Lp)
    N = h * w; Np = -(-N // M) * M
    tok = x.reshape(ch, h, p, w, p).transpose(1, 3, 2, 4, 0).reshape(N, -1)    # feature order (ph, pw, c)
    tok = np.concatenate([tok, np.repeat(tok[-1:], Np - N, 0)])
    y = n.lin('all_x_embedder.2-1', tok); y[N:] = n.W['x_pad_token']
    xid = np.zeros((Np, 3)); xid[:N, 0] = Lp + 1; xid[:N, 1], xid[:N, 2] = np.divmod(np.arange(N), w)
    xa, ca = angles(xid), angles(cid)
    for i in range(C['n_refiner_layers']): y = block(f'noise_refiner.{i}.', y, xa, True)
    for i in range(C['n_refiner_layers']): cap = block(f'context_refiner.{i}.', cap, ca, False)
    y = np.concatenate([y, cap]); ang = np.concatenate([xa, ca])               # image first, caption after
    for i in range(C['n_layers']): y = block(f'layers.{i}.', y, ang, True)
    f = 'all_final_layer.2-1.'
    y = n.lin(f + 'linear', n.ln(y, 1e-6) * (1 + n.lin(f + 'adaLN_modulation.1', silu(a))))
    return unpatch_ppc(y[:N], h, w, p, ch)

def wan(n, x, t, text):                                  # WanTransformer3DModel (2.1 T2V); x [16,T,H,W]; t integer 0..999
    C = n.C; H = C['num_attention_heads']; D = C['attention_head_dim']; d = H * D; eps = C['eps']; pt, p, _ = C['patch_size']
    ch, fr, hh, ww = x.shape; h, w = hh // p, ww // p
    hd = 2 * (D // 6); dims = (D - 2 * hd, hd, hd)
    gf, gh, gw = np.meshgrid(np.arange(fr // pt), np.arange(h), np.arange(w), indexing='ij')
    ang = np.concatenate([rope_axis(dd, g.ravel(), 10000.) for dd, g in zip(dims, (gf, gh, gw))], 1)
    wt = n.W['patch_embedding.weight'].reshape(d, -1)
    tok = x.reshape(ch, fr // pt, pt, h, p, w, p).transpose(1, 3, 5, 0, 2, 4, 6).reshape(-1, ch * pt * p * p)   # (c, pt, ph, pw)
    y = tok @ wt.T + n.W['patch_embedding.bias']
    e = 'condition_embedder.'
    temb = n.mlp2(e + 'time_embedder.linear_1', e + 'time_embedder.linear_2', silu, sinus(t, C['freq_dim']))
    t6 = n.lin(e + 'time_proj', silu(temb)).reshape(6, d)
    ctx = n.mlp2(e + 'text_embedder.linear_1', e + 'text_embedder.linear_2', gelu_tanh, text)
    for i in range(C['num_layers']):
        b = f'blocks.{i}.'
        s1, c1, g1, s2, c2, g2 = n.W[b + 'scale_shift_table'][0] + t6
        u = modulate(n.ln(y, eps), s1, c1)
        q = n.rms(n.lin(b + 'attn1.to_q', u), eps, b + 'attn1.norm_q'); k = n.rms(n.lin(b + 'attn1.to_k', u), eps, b + 'attn1.norm_k')   # across all heads
        o = sdpa(rope(heads(q, H), ang), rope(heads(k, H), ang), heads(n.lin(b + 'attn1.to_v', u), H))
        y = y + g1 * n.lin(b + 'attn1.to_out.0', o)
        u = n.ln(y, eps, b + 'norm2')
        q = n.rms(n.lin(b + 'attn2.to_q', u), eps, b + 'attn2.norm_q'); k = n.rms(n.lin(b + 'attn2.to_k', ctx), eps, b + 'attn2.norm_k')
        y = y + n.lin(b + 'attn2.to_out.0', sdpa(heads(q, H), heads(k, H), heads(n.lin(b + 'attn2.to_v', ctx), H)))
        y = y + g2 * n.mlp2(b + 'ffn.net.0.proj', b + 'ffn.net.2', gelu_tanh, modulate(n.ln(y, eps), s2, c2))
    sh, sc = n.W['scale_shift_table'][0] + temb
    y = n.lin('proj_out', modulate(n.ln(y, eps), sh, sc))
    return y.reshape(fr // pt, h, w, pt, p, p, -1).transpose(6, 0, 3, 1, 4, 2, 5).reshape(-1, fr, hh, ww)       # (pt, ph, pw, c)

def cogvideox(n, x, t, text):                            # CogVideoXTransformer3DModel 1.0; x [T,16,H,W] (frames first)
    C = n.C; H = C['num_attention_heads']; D = C['attention_head_dim']; d = H * D; p = C['patch_size']; eps = C['norm_eps']
    fr, ch, hh, ww = x.shape; h, w = hh // p, ww // p; L = text.shape[0]
    emb = n.mlp2('time_embedding.linear_1', 'time_embedding.linear_2', silu, sinus(t, d, C['freq_shift']))
    y = np.concatenate([conv_patch(n, 'patch_embed.proj', x[i], p) for i in range(fr)])
    ang = None
    if not C['use_rotary_positional_embeddings']:        # 2B: additive sincos, [temporal d/4 | spatial 3d/4], text rows get zero
        ds, dt = 3 * d // 4, d // 4
        X, Y = np.meshgrid(np.arange(w, dtype=F) / F(C['spatial_interpolation_scale']), np.arange(h, dtype=F) / F(C['spatial_interpolation_scale']))
        sp = np.concatenate([sincos1d(ds // 2, X.ravel()), sincos1d(ds // 2, Y.ravel())], 1)
        tp = sincos1d(dt, np.arange(fr) / C['temporal_interpolation_scale'])
        y = y + np.concatenate([np.repeat(tp, h * w, 0), np.tile(sp, (fr, 1))], 1).astype(F)
    else:                                                # 5B: rotary on the video rows, over a crop of the grid it was trained on
        th, tw = C['sample_height'] // p, C['sample_width'] // p
        rh, rw = (th, int(round(th / h * w))) if h / w > th / tw else (int(round(tw / w * h)), tw)
        top, left = int(round((th - rh) / 2.0)), int(round((tw - rw) / 2.0))
        grid = np.meshgrid(np.arange(fr, dtype=F), np.linspace(top, top + rh, h, endpoint=False, dtype=F), np.linspace(left, left + rw, w, endpoint=False, dtype=F), indexing='ij')
        ang = np.concatenate([rope_axis(dd, g.ravel(), 10000.) for dd, g in zip((D // 4, D // 8 * 3, D // 8 * 3), grid)], 1)
    c = n.lin('patch_embed.text_proj', text)
    a = silu(emb)
    def nz(b): 
        s1, c1, g1, u1, e1, h1 = np.split(n.lin(b + '.linear', a), 6)
        return np.concatenate([modulate(n.ln(c, eps, b + '.norm'), u1, e1), modulate(n.ln(y, eps, b + '.norm'), s1, c1)]), g1, h1
    for i in range(C['num_layers']):
        b = f'transformer_blocks.{i}.'
        u, g1, h1 = nz(b + 'norm1')
        q, k, v = (heads(n.lin(b + 'attn1.to_' + z, u), H) for z in 'qkv')
        q, k = n.ln(q, 1e-6, b + 'attn1.norm_q'), n.ln(k, 1e-6, b + 'attn1.norm_k')
        if ang is not None: q, k = (np.concatenate([z[:L], rope(z[L:], ang)]) for z in (q, k))
        o = n.lin(b + 'attn1.to_out.0', sdpa(q, k, v))
        y, c = y + g1 * o[L:], c + h1 * o[:L]
        u, g1, h1 = nz(b + 'norm2')
        o = n.mlp2(b + 'ff.net.0.proj', b + 'ff.net.2', gelu_tanh, u)
        y, c = y + g1 * o[L:], c + h1 * o[:L]
    y = n.ln(y, eps, 'norm_final')
    sh, sc = np.split(n.lin('norm_out.linear', a), 2)    # shift first here
    y = n.lin('proj_out', modulate(n.ln(y, eps, 'norm_out.norm'), sh, sc))
    return y.reshape(fr, h, w, -1, p, p).transpose(0, 3, 1, 4, 2, 5).reshape(fr, -1, hh, ww)                    # (c, ph, pw)
