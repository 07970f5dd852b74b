// Lists the tools with one of the TypeScript clients and calls each with its sample arguments.
//   node clients.mjs 1|2 SERVER_COMMAND WORKSPACE CALLS_JSON        (run from the folder that holds node_modules)
import { readFileSync } from "node:fs";

const [version, command, workspace, calls] = process.argv.slice(2);
const samples = JSON.parse(readFileSync(calls, "utf8"));
const { Client } =
  version === "1"
    ? await import("@modelcontextprotocol/sdk/client/index.js")
    : await import("@modelcontextprotocol/client");
const { StdioClientTransport } =
  version === "1"
    ? await import("@modelcontextprotocol/sdk/client/stdio.js")
    : await import("@modelcontextprotocol/client/stdio");

const client = new Client({ name: "ci", version: "1.0.0" });
await client.connect(new StdioClientTransport({ command, args: ["serve", "--workspace", workspace], stderr: "inherit" }));
const { tools } = await client.listTools();
for (const { name } of tools) {
  if (!(name in samples)) throw new Error(`no sample call for ${name}`);
  const request = { name, arguments: samples[name] };
  const options = { timeout: 600_000 };
  const result =
    version === "1" ? await client.callTool(request, undefined, options) : await client.callTool(request, options);
  const text = result.content[0].text;
  if (result.isError ? text.includes("failed inside") : typeof result.structuredContent !== "object")
    throw new Error(`${name}: ${text}`);
  console.log(`  ${name}: ${result.isError ? `declined (${text.slice(0, 60)})` : "answered"}`);
}
await client.close();
