"""Promotion: which version becomes the champion, by the evidence of paired tests and the policy of the experiment."""
