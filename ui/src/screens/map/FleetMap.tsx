export function FleetMap() {
  return null;
}
