"""allod"""
