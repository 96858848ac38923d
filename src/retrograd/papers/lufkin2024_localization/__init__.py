"""Lufkin, Saxe & Grant, NeurIPS 2024, arXiv:2501.17284.

Nonlinear dynamics of localization in neural receptive fields.

Question: why do localized receptive fields appear in plain feedforward networks, trained
on a task and without any objective of sparsity or independence?

Answer: for weakly dependent, translation-invariant inputs, a ReLU neuron that learns to
tell a short from a long correlation length follows a closed effective flow with one
scalar function φ, the localization amplifier, which depends on the one-point marginal
only. To third order φ is convex where the excess kurtosis is negative: then the largest
entry wins. Elliptical inputs have a linear φ and never localize, whatever their kurtosis.

Where to find it:
    marginals, kurtosis, covariances          retrograd.marginals
    fields on a ring and a torus              retrograd.circulant
    stimuli of both classes                   stimuli.sampler
    SGD                                       train.Ensemble
    amplifier φ(a) = E[X erf(X alg⁻¹(a)/√2)]  theory.Amplifier
    effective dynamics                        theory.effective
    elliptical inputs, φ = c a                theory.elliptical_slope
    inverse participation ratio               data.participation
"""
