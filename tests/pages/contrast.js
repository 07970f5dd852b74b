// The contrast of each text with what lies behind it, as WCAG 2.2 counts it; those below 4.5 are given back.
(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const over = (top, below) =>
    top.slice(0, 3).map((part, at) => (part * top[3]) / 255 + below[at] * (1 - top[3] / 255));
  function rgba(colour) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  }
  function behind(node) {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.unshift(rgba(getComputedStyle(at).backgroundColor));
    return layers.reduce((below, top) => over(top, below), [255, 255, 255]);
  }
  function light(parts) {
    const [r, g, b] = parts.map((part) =>
      part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4,
    );
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  const faint = [];
  for (const node of document.querySelectorAll("main *")) {
    const hasText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!hasText || !node.checkVisibility()) continue;
    const under = behind(node);
    const [one, other] = [light(over(rgba(getComputedStyle(node).color), under)), light(under)].sort((a, b) => a - b);
    const contrast = (other + 0.05) / (one + 0.05);
    if (contrast < 4.5) faint.push(`${node.textContent.slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return faint;
})();
