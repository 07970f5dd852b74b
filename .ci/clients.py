"""Lists the tools with one of the Python clients and calls each with its sample arguments.

python clients.py sdk|fastmcp SERVER_COMMAND WORKSPACE CALLS_JSON
"""

import asyncio
import json
import sys
from pathlib import Path


def client_of(kind, command, arguments):
    if kind == "sdk":
        from mcp import Client, StdioServerParameters

        return Client(StdioServerParameters(command=command, args=arguments))
    from fastmcp import Client
    from fastmcp.client.transports import StdioTransport

    return Client(StdioTransport(command=command, args=arguments))


async def main(kind, command, workspace, calls):
    samples = json.loads(Path(calls).read_text(encoding="utf-8"))
    async with client_of(kind, command, ["serve", "--workspace", workspace]) as client:
        listed = await client.list_tools()
        for tool in getattr(listed, "tools", listed):
            how = {"raise_on_error": False} if kind == "fastmcp" else {}
            result = await client.call_tool(tool.name, samples[tool.name], **how)
            text, structure = result.content[0].text, result.structured_content
            assert "failed inside" not in text and (result.is_error or isinstance(structure, dict)), text
            print(f"  {tool.name}: {f'declined ({text[:60]})' if result.is_error else 'answered'}")


asyncio.run(main(*sys.argv[1:]))
