"""Every option, stated once: frozen records whose fields carry their help, bounds and flags."""
