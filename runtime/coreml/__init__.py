"""A saved package in Core ML itself: what predicts it on a Mac, where its operations run, how long a call takes, and
the attestation that follows. `found` says whether this machine can; elsewhere the answer is `Unavailable` with the
reason. One more part of coremltools' API that is used gets its place in `api`, which a test holds to the real one."""
