"""The phases as a platform drives them one by one: each reads its inputs from files and leaves its outputs in files.

What a phase does is in the modules of `lifecycle`; here is what it finds and leaves (Platform API 0.7 - 0.15).
"""
