"""Two plans → what differs in meaning (`difference`). Two obligations → stronger, weaker or neither (`direction`)."""
