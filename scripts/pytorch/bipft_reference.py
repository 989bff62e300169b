# SPDX-License-Identifier: Apache-2.0
"""An independent PyTorch reference of BiPFT pretraining (arXiv 2312.08937), written for checking bipft.

It shares no code with the authors' release; with dropout 0 its losses and gradients were checked against that
release. Parameter names follow the authors' state_dict (Hugging Face BERT names plus `move.bias`, `input_clip_val`,
`clip_*`, `q_p`, `k_p`, `q_m`, `k_m`, `v_p`).
"""
import math
from dataclasses import dataclass
import torch
import torch.nn.functional as F


@dataclass
class Config:
    vocab_size: int = 512
    hidden_size: int = 96
    num_hidden_layers: int = 2
    num_attention_heads: int = 12
    intermediate_size: int = 192
    max_position_embeddings: int = 64
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    estimator_rank: int = 1        # 0 = BiPFT-A (no estimators), 1 = BiPFT-B as published
    value_estimator: bool = True
    dropout: float = 0.0           # of embeddings, probabilities and block outputs, while Reference.training


class SignElastic(torch.autograd.Function):
    """alpha * sign(x); STE clipped to |x| <= alpha; LSQ-style gradient for alpha."""
    @staticmethod
    def forward(ctx, x, alpha):
        a = torch.where(alpha > 1e-5, alpha, torch.full_like(alpha, 1e-5))
        ctx.save_for_backward(x, a)
        return torch.where(x >= 0, a, -a)

    @staticmethod
    def backward(ctx, g):
        x, a = ctx.saved_tensors
        s = torch.where(x >= 0, 1.0, -1.0)
        return g * ((x / a).abs() <= 1), (s * g).sum() / math.sqrt(x.numel())


class UnitElastic(torch.autograd.Function):
    """alpha * clamp(round(x / alpha), 0, 1), round half to even; used for attention probabilities."""
    @staticmethod
    def forward(ctx, x, alpha):
        a = torch.where(alpha > 1e-5, alpha, torch.full_like(alpha, 1e-5))
        ctx.save_for_backward(x, a)
        return (x / a).round().clamp(0, 1) * a

    @staticmethod
    def backward(ctx, g):
        x, a = ctx.saved_tensors
        q = x / a
        low, high = q < 0, q > 1
        mid = ~(low | high)
        galpha = ((high.float() + mid.float() * (q.round() - q)) * g).sum() / math.sqrt(x.numel())
        return g * mid, galpha


class WeightSign(torch.autograd.Function):
    """mean|w| * sign(w - mean(w)); identity gradient. per_row: the scale is per row, the mean over all."""
    @staticmethod
    def forward(ctx, w, per_row):
        scale = w.abs().mean(dim=1, keepdim=True) if per_row else w.abs().mean()
        centred = w - w.mean()
        return torch.where(centred >= 0, 1.0, -1.0) * scale

    @staticmethod
    def backward(ctx, g):
        return g, None


def parameter_shapes(c: Config):
    h, f, r = c.hidden_size, c.intermediate_size, c.estimator_rank
    s = {
        'bert.embeddings.word_embeddings.weight': (c.vocab_size, h),
        'bert.embeddings.position_embeddings.weight': (c.max_position_embeddings, h),
        'bert.embeddings.token_type_embeddings.weight': (c.type_vocab_size, h),
        'bert.embeddings.LayerNorm.weight': (h,), 'bert.embeddings.LayerNorm.bias': (h,),
    }

    def linear(name, o, i):
        s[name + '.weight'] = (o, i); s[name + '.bias'] = (o,)

    def qlinear(name, o, i):
        linear(name, o, i); s[name + '.move.bias'] = (i,); s[name + '.input_clip_val'] = ()

    def norm(name):
        s[name + '.weight'] = (h,); s[name + '.bias'] = (h,)

    for l in range(c.num_hidden_layers):
        p = f'bert.encoder.layer.{l}.'
        a = p + 'attention.self.'
        if r:
            for e in ('k_p', 'q_p', 'k_m', 'q_m'): linear(a + e, r, h)
        if c.value_estimator and r: linear(a + 'v_p', 1, h)
        for e in ('query', 'key', 'value'): qlinear(a + e, h, h)
        for e in ('query', 'key', 'value', 'attn'): s[a + 'clip_' + e] = ()
        qlinear(p + 'attention.output.dense', h, h); norm(p + 'attention.output.LayerNorm')
        qlinear(p + 'intermediate.dense', f, h)
        qlinear(p + 'output.dense', h, f); norm(p + 'output.LayerNorm')
    qlinear('bert.pooler.dense', h, h); norm('bert.pooler.LayerNorm')
    s['cls.predictions.bias'] = (c.vocab_size,)
    linear('cls.predictions.transform.dense', h, h); norm('cls.predictions.transform.LayerNorm')
    linear('cls.seq_relationship', 2, h)
    return s


def initialise(c: Config, seed: int):
    g = torch.Generator().manual_seed(seed)
    out = {}
    for n, shape in parameter_shapes(c).items():
        if shape == (): t = torch.ones(())
        elif 'LayerNorm.weight' in n: t = 1 + 0.1 * torch.randn(shape, generator=g)
        elif n.endswith('bias'): t = 0.02 * torch.randn(shape, generator=g)
        else: t = 0.05 * torch.randn(shape, generator=g)
        out[n] = t.requires_grad_(True)
    return out


class Reference:
    """p: parameters by name. Step sizes equal to 1.0 and not yet seen are set from the first batch they meet."""
    activation = staticmethod(F.gelu)  # of the feed-forward half

    def __init__(self, c: Config, p: dict, fit_step_sizes=True):
        self.c, self.p, self.fitted = c, p, set() if fit_step_sizes else None
        self.training = True

    def _alpha(self, name, x, factor):
        a = self.p[name]
        if self.fitted is not None and name not in self.fitted:
            with torch.no_grad(): a.copy_(factor * x.abs().mean())
            self.fitted.add(name)
        return a

    def sign(self, x, name): return SignElastic.apply(x, self._alpha(name, x, 2.0))
    def unit(self, x, name): return UnitElastic.apply(x, self._alpha(name, x, 4.0))

    def qlinear(self, x, n):
        p = self.p
        x = self.sign(x + p[n + '.move.bias'], n + '.input_clip_val')
        return F.linear(x, WeightSign.apply(p[n + '.weight'], False)) + p[n + '.bias']

    def linear(self, x, n): return F.linear(x, self.p[n + '.weight'], self.p[n + '.bias'])

    def norm(self, x, n, eps=1e-12):
        return F.layer_norm(x, (self.c.hidden_size,), self.p[n + '.weight'], self.p[n + '.bias'], eps)

    def drop(self, x): return F.dropout(x, self.c.dropout, self.training)

    def attention(self, x, mask, l):
        c, n = self.c, f'bert.encoder.layer.{l}.attention.self.'
        B, T, H = x.shape; heads = c.num_attention_heads
        split = lambda t: t.view(B, T, heads, H // heads).transpose(1, 2)
        q, k, v = (split(self.qlinear(x, n + e)) for e in ('query', 'key', 'value'))
        q, k, v = self.sign(q, n + 'clip_query'), self.sign(k, n + 'clip_key'), self.sign(v, n + 'clip_value')
        score = q @ k.transpose(-1, -2)
        if c.estimator_rank:
            qp, kp, qm, km = (self.linear(x, n + e) for e in ('q_p', 'k_p', 'q_m', 'k_m'))
            t = lambda m: m.transpose(-1, -2)
            score = score + (qm @ t(kp) + qp @ t(km) + qp @ t(kp)).unsqueeze(1)
        score = score / math.sqrt(H // heads) + mask
        prob = self.unit(self.drop(score.softmax(-1)), n + 'clip_attn')
        ctx = prob @ v
        if c.value_estimator and c.estimator_rank:
            ctx = ctx + prob @ self.linear(x, n + 'v_p').unsqueeze(1)  # (B,1,T,1): same for every head and channel
        return ctx.transpose(1, 2).reshape(B, T, H)

    def encode(self, ids, attention_mask, types):
        p, T = self.p, ids.shape[1]
        word = WeightSign.apply(p['bert.embeddings.word_embeddings.weight'], True)
        x = F.embedding(ids, word) + p['bert.embeddings.position_embeddings.weight'][:T] \
            + F.embedding(types, p['bert.embeddings.token_type_embeddings.weight'])
        x = self.drop(self.norm(x, 'bert.embeddings.LayerNorm'))
        hidden = [x]
        mask = (1.0 - attention_mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
        for l in range(self.c.num_hidden_layers):
            n = f'bert.encoder.layer.{l}.'
            a = self.qlinear(self.attention(x, mask, l), n + 'attention.output.dense')
            x = self.norm(self.drop(a) + x, n + 'attention.output.LayerNorm')
            f = self.activation(self.qlinear(x, n + 'intermediate.dense'))
            x = self.norm(self.drop(self.qlinear(f, n + 'output.dense')) + x, n + 'output.LayerNorm')
            hidden.append(x)
        first = x[:, 0]
        pooled = torch.tanh(self.norm(self.qlinear(first, 'bert.pooler.dense'), 'bert.pooler.LayerNorm') + first)
        return hidden, pooled

    def heads(self, x, pooled):
        p = self.p
        # the authors' released config sets hidden_act = relu, which reaches only this transform
        t = self.norm(F.relu(self.linear(x, 'cls.predictions.transform.dense')), 'cls.predictions.transform.LayerNorm')
        return F.linear(t, p['bert.embeddings.word_embeddings.weight'], p['cls.predictions.bias']), \
            self.linear(pooled, 'cls.seq_relationship')

    def losses(self, batch, teacher=None):
        hidden, pooled = self.encode(batch['input_ids'], batch['attention_mask'], batch['token_type_ids'])
        logits, nsp = self.heads(hidden[-1], pooled)
        out = {'mlm': F.cross_entropy(logits.view(-1, self.c.vocab_size), batch['labels'].view(-1)),
               'nsp': F.cross_entropy(nsp, batch['next_sentence_label'])}
        out['total'] = out['mlm'] + out['nsp']
        if teacher is not None:
            out['hidden'] = sum(F.mse_loss(a, b) for a, b in zip(hidden, teacher['hidden'])) / len(hidden)
            out['nsp_distill'] = (-teacher['nsp'].softmax(-1) * nsp.log_softmax(-1)).mean()
            out['total'] = out['total'] + out['hidden'] + out['nsp_distill']
        return out, hidden, logits, nsp


def fp_encode(c: Config, p: dict, batch, attend=None):
    """A plain full-precision BERT (GELU) forward without dropout, Hugging Face names; returns hidden states and pooled.
    attend(q, k, v): attention of a batch without padding, in place of the one written out here."""
    B, T = batch['input_ids'].shape; H, heads = c.hidden_size, c.num_attention_heads
    lin = lambda x, n: F.linear(x, p[n + '.weight'], p[n + '.bias'])
    norm = lambda x, n: F.layer_norm(x, (H,), p[n + '.weight'], p[n + '.bias'], c.layer_norm_eps)
    x = F.embedding(batch['input_ids'], p['bert.embeddings.word_embeddings.weight']) \
        + p['bert.embeddings.position_embeddings.weight'][:T] \
        + F.embedding(batch['token_type_ids'], p['bert.embeddings.token_type_embeddings.weight'])
    x = norm(x, 'bert.embeddings.LayerNorm'); hidden = [x]
    if attend is None:
        mask = (1.0 - batch['attention_mask'][:, None, None, :].float()) * torch.finfo(torch.float32).min
        attend = lambda q, k, v: ((q @ k.transpose(-1, -2)) / math.sqrt(H // heads) + mask).softmax(-1) @ v
    for l in range(c.num_hidden_layers):
        n = f'bert.encoder.layer.{l}.'; split = lambda t: t.view(B, T, heads, H // heads).transpose(1, 2)
        q, k, v = (split(lin(x, n + 'attention.self.' + e)) for e in ('query', 'key', 'value'))
        a = lin(attend(q, k, v).transpose(1, 2).reshape(B, T, H), n + 'attention.output.dense')
        x = norm(a + x, n + 'attention.output.LayerNorm')
        x = norm(lin(F.gelu(lin(x, n + 'intermediate.dense')), n + 'output.dense') + x, n + 'output.LayerNorm')
        hidden.append(x)
    return hidden, torch.tanh(lin(x[:, 0], 'bert.pooler.dense'))


def fp_teacher(c: Config, p: dict, batch, attend=None):
    """What `fp_encode` gives as a teacher: hidden states and NSP logits."""
    hidden, pooled = fp_encode(c, p, batch, attend)
    nsp = F.linear(pooled, p['cls.seq_relationship.weight'], p['cls.seq_relationship.bias'])
    return {'hidden': hidden, 'nsp': nsp}


def random_batch(c: Config, seed, B=4, T=32):
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, c.vocab_size, (B, T), generator=g)
    lengths = torch.randint(T // 2, T + 1, (B,), generator=g); lengths[0] = T
    att = (torch.arange(T)[None] < lengths[:, None]).long()
    types = (torch.arange(T)[None] >= (lengths // 2)[:, None]).long() * att
    ids = ids * att
    labels = torch.full((B, T), -100)
    masked = (torch.rand((B, T), generator=g) < 0.2) & att.bool(); masked[:, 1] = True
    labels[masked] = ids[masked]; ids[masked] = 4
    return dict(input_ids=ids, attention_mask=att, token_type_ids=types, labels=labels,
                next_sentence_label=torch.randint(0, 2, (B,), generator=g))
