"""Saxe, Sodhani & Lewallen, ICML 2022, arXiv:2207.10430.

The Neural Race Reduction: Dynamics of Abstraction in Gated Networks.

Question: how does the architecture on the scale of modules, which module feeds which and
when it is switched on, shape the speed of learning, what is represented, and what
generalises?

Answer: in a gated deep linear network the gates enter gradient descent only through
correlations per path from input to output. Where these are diagonal in common frames,
learning reduces exactly to one small network per mode. An edge on many paths learns
faster, so pathways race and the most shared one wins: from small weights, networks that
route M inputs to M outputs find one representation for all domains, and map pairs of
domains that they were never trained on. From large weights they do not.

Where to find it (T1 to T6, M1 to M4, D1 to D4 are those of the project's specification):
    gated networks, path form T1       retrograd.gated_networks.descent
    reduction to modes T2              retrograd.gated_networks.reduced_descent
    XoR, closed form T3                theory.gating; the networks M1, M2: train.gating
    contextual task T4                 theory.gating; train.gating
    routing network M3                 routing_networks.RoutingNetworks, train.routing
    its reduction T5, T6, the race     reduction.SubNetwork; theory.routing, theory.sharing
    image networks M4                  image_networks.ImageNetworks, train.images
"""
