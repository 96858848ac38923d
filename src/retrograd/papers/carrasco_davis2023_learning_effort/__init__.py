"""Carrasco-Davis, Masís & Saxe 2023, arXiv:2310.19919.

Meta-learning strategies through value maximization in neural networks.

Question: a learner may intervene on its own learning by a control (gain of its weights,
engagement in tasks or classes, learning rate, initial weights), at a cost. Which control
is the best for the whole of learning, measured by V, the discounted sum of −L − C?

Answer: on the average learning dynamics of linear networks, which need the second moments
of the data alone, V can be ascended through the whole of learning. Effort is large early
on and decays; looking one step ahead (MAML) is a poor approximation; easy tasks and
classes are engaged in first, and effort is then sustained on the hard ones; as tasks
alternate, gain is spent at switches, and the weights settle where switching is cheap.

Where to find it:
    moments of the tasks                    data.Task and the functions that make one
    average dynamics, and their adjoint     network.LinearNetwork, neuron.Neurons
    controls, costs and bounds              settings
    ascent in a box                         retrograd.control
    closed forms, Pontryagin, differences   theory
    SGD                                     sgd

Rates of plain ascents are α_c = α_g·dt, and times are t = k·dt, so that results do not
depend on dt but for its discretisation.
"""
