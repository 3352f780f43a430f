"""Keypoint motion: from the driver's keypoints to the photo's."""
