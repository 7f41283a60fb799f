"""Is this machine able to train, and what exactly is missing?"""
