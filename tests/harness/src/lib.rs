//! Starts what tests need: database servers and processes, on free ports with folders of their own
