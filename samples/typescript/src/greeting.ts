export function greeting(now: Date): string {
    const hour: number = now.getHours();
    return hour < 12 ? "Good morning" : hour < 18 ? "Good afternoon" : "Good evening";
}
