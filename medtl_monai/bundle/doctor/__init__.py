"""``medtl doctor``: is this bundle what MONAI's command line, MONAI Label, MONAI Deploy and the model zoo expect?"""
