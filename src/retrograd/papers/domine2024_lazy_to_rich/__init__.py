"""Dominé, Anguita, Proca, Braun, Kunin, Mediano & Saxe, ICLR 2025, arXiv:2409.14623.

From lazy to rich: exact learning dynamics in deep linear networks.

Question: a two-layer linear network y = W2 W1 x learns by gradient flow from white inputs.
How does its initialisation place learning between lazy (the tangent kernel stays) and rich
(features move)?

Answer: if W2ᵀW2 − W1W1ᵀ = λI at the start, it stays so, and QQᵀ of Q = [W1ᵀ; W2] obeys a
matrix Riccati equation with a closed solution, hence the map, both representations and the
kernel at all times. Small |λ| is rich and sigmoidal, large |λ| lazy and exponential, with
one layer still specific to the task; funnels are lazy for one sign of λ only and, for the
other, rich after a delay. Forgetting, reversal, transfer and noise follow.

Where to find it:
    λ-balanced weights                 retrograd.linear_networks.balanced_weights
    Riccati equation and solution      exact.riccati_matrix, exact.solution
    the same in exact steps            exact.propagate
    one aligned mode at any λ          exact.aligned_mode
    tangent kernel and its distance    retrograd.linear_networks.kernel_distance
    targets and initial weights        data
    gradient descent                   descent.Descent
    what is recorded                   observables
"""
