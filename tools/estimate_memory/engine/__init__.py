"""Runs the caller's make_step on tensors without data, in a child process; Python 3.9, torch 2.6 or newer.

__main__       the door: answer(request, progress)
simulate       one estimate: scenarios, decisions of fit, largest batch, remedies
huggingface    make_step for a Hugging Face config.json or model folder
load           finds and calls make_step, checks what it returns
fake           tensors that claim to be on the target device; what a script may ask of torch.cuda
cuda_choices   what torch decides in C++ for CUDA tensors, decided again for fake ones: attention, dropout
recurrent      likewise for RNNs and packed sequences
autocast       mixed precision for fake CUDA tensors
kernels        memory that kernels take where dispatch does not see it; cpu_kernels those of a CPU, probe and trials
               by trial, composites those that call other operators in C++
replaced       operators whose fake kernel is wrong or missing
record         births and deaths of storages during the step
made           what make_step leaves alive that the step never reads
step           drives two optimizer steps under the recorder
variants       the remedies, each as a change of the step
allocator      the caching allocator, replayed
timeline       what is alive over the step, by kind
overheads      apart from all that: what a process takes on a real card beside the allocator
"""
