import os

# Threads of torch that wait for others sleep. Those that spin meanwhile, as is usual, make every
# step many times slower as soon as a training and a prediction share the cores. Read when torch is
# loaded; trainers inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
