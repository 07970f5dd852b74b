"""What surrounds the tools: the MCP server (app), the command line (cli) and the skill as resources (skill)."""
