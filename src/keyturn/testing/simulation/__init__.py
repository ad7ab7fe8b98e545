"""`keyturn simulate`: the product's own runtime in a world of its own, under every fault that a year in production brings.

One run is drawn from a seed: credentials, targets, verifiers, clients, replicas, and a plan of disturbances. The product
gathers, decides, commits, executes and reconciles as ever; the ports alone are simulated, on a virtual clock in one
thread. The promises are held against the world's own truth, never against what the store believes.
"""
