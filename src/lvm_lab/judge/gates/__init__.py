"""The five gates' measures, a file each: numbers a window, without thresholds or means."""
